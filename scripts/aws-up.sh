#!/usr/bin/env bash
# Sets the site up in an account of AWS, with the pipeline that releases each push, or brings what is there up to date.
# It tells each step. Cut off and started again it goes on where it was: nothing is made twice. infra/README.md says
# what is made.
# shellcheck source=scripts/aws-release.sh
source "$(dirname "$0")/aws-release.sh"
cd "$(dirname "$0")/.."

usage="usage: ./scripts/aws-up.sh [options] [owner/name]

  owner/name         the site's repository on GitHub; by default where origin of this clone is
  --stack NAME       the name of all that is made (ec-deployer)
  --branch NAME      the branch of which each push is released (main)
  --domain NAME      the site's domain name, for https
  --email ADDRESS    whom Let's Encrypt tells when something is wrong with the certificate
  --image IMAGE      what the server boots from: an id, newest (of the good golden images), or bake, for a new one.
                     Where it is another one than now the server is replaced; its data and its address stay
  --subnet ID        the server's subnet; by default one of the default VPC
  --snapshot ID      what the data of a new stack are made of: a snapshot, or none; by default the newest that
                     aws-down.sh left
  --program FILE     a built ec-deployer, to bake by; by default it is built here

Region and credentials are those of AWS's command line. EC_PAUSE is how many seconds are between two looks (10)."

repository='' branch='' domain='' email='' image='' subnet='' snapshot='' program=''
while (($# > 0)); do
    case $1 in
    --stack) stack=$(value "$@") ;;
    --branch) branch=$(value "$@") ;;
    --domain) domain=$(value "$@") ;;
    --email) email=$(value "$@") ;;
    --image) image=$(value "$@") ;;
    --subnet) subnet=$(value "$@") ;;
    --snapshot) snapshot=$(value "$@") ;;
    --program) program=$(value "$@") ;;
    -h | --help)
        echo "$usage"
        exit
        ;;
    -*) die "There is no option $1." "./scripts/aws-up.sh --help lists them." ;;
    *) repository=$1 ;;
    esac
    # What has a value takes two places.
    if [[ $1 == -* ]]; then shift; fi
    shift
done

# The repository that this clone came from, where that is one on GitHub.
origin_repository() {
    local url
    url=$(git remote get-url origin 2>/dev/null || true)
    if [[ $url =~ ^(https://github\.com/|ssh://git@github\.com/|git@github\.com:)([^/]+/[^/]+)/?$ ]]; then
        printf '%s' "${BASH_REMATCH[2]%.git}"
    fi
}

# A subnet with a way to the internet, of a zone that has the server's type: sets vpc, subnet, zone and subnets, which
# are the machines' too.
find_network() {
    local type=t3.small zones rows filter
    if [[ -n $subnet ]]; then filter=Name=subnet-id,Values=$subnet; else filter=Name=default-for-az,Values=true; fi
    zones=$(aws ec2 describe-instance-type-offerings --location-type availability-zone \
        --filters "Name=instance-type,Values=$type" --query 'InstanceTypeOfferings[].Location' --output text)
    rows=$(aws ec2 describe-subnets --filters "$filter" --output text \
        --query 'sort_by(Subnets, &AvailabilityZone)[].[SubnetId,VpcId,AvailabilityZone]')
    local id network place
    while read -r id network place; do
        [[ " ${zones//$'\t'/ } " == *" $place "* ]] || continue
        subnets=${subnets:+$subnets,}$id
        [[ -n $vpc ]] || vpc=$network subnet=$id zone=$place
    done <<<"$rows"
    [[ -n $vpc ]] || die "No subnet was found in $region for a server of the type $type." \
        "Make the default VPC, which has one in each zone: aws ec2 create-default-vpc" \
        "Or give one with a way to the internet: --subnet subnet-…"
    tell "$subnet in $zone"
}

newest_image() {
    local found
    found=$(aws ec2 describe-images --owners self --output text \
        --filters Name=tag:ManagedBy,Values=ec-deployer Name=tag:ec-deployer:state,Values=good Name=state,Values=available \
        --query 'sort_by(Images, &CreationDate)[-1].ImageId')
    [[ $found == None ]] || printf '%s' "$found"
}

# Bakes a golden image with the program's own bake. What an interrupted one left it ends itself, by its state.
bake() {
    if [[ -z $program ]]; then
        tell "building ec-deployer; the AWS SDK takes some minutes and 8 GB of memory"
        ./scripts/setup.sh ec2
        cargo build --locked --bin ec-deployer
        program=${CARGO_TARGET_DIR:-target}/debug/ec-deployer
    fi
    tell "baking; it takes about a quarter of an hour, and its log comes at the end"
    CLOUD=ec2 STATE_DIR="${XDG_STATE_HOME:-$HOME/.local/state}/ec-deployer-up" SUBNET_IDS="$bake_subnets" \
        "$program" bake || die "The golden image was not baked." "Its log above says why. Start this again when that is cured."
}

# Chooses what the server boots from: sets image.
find_image() {
    case $image in
    ami-*) ;;
    newest | '')
        image=$(newest_image)
        if [[ -z $image ]]; then
            tell "there is none"
            bake
            image=$(newest_image)
        fi
        ;;
    bake)
        bake
        image=$(newest_image)
        ;;
    *) die "--image wants an image's id, newest or bake, not $image." ;;
    esac
    [[ -n $image ]] || die "There is no golden image in $region, although one was baked." \
        "Look for images with the tags ManagedBy=ec-deployer and ec-deployer:state=good."
    tell "$image"
}

# The newest snapshot that aws-down.sh left of a stack of this name: sets snapshot and gib.
find_snapshot() {
    local found
    if [[ $snapshot == none ]]; then
        snapshot=
        tell "begins with no data"
        return
    fi
    if [[ -z $snapshot ]]; then
        found=$(aws ec2 describe-snapshots --owner-ids self --filters "Name=tag:ec-deployer:data,Values=$stack" \
            --query 'sort_by(Snapshots, &StartTime)[-1].SnapshotId' --output text)
        if [[ $found == None ]]; then
            tell "none is left of a former stack: begins with no data"
            return
        fi
        snapshot=$found
    fi
    aws ec2 wait snapshot-completed --snapshot-ids "$snapshot"
    gib=$(aws ec2 describe-snapshots --snapshot-ids "$snapshot" --query 'Snapshots[0].VolumeSize' --output text)
    tell "restores $snapshot, of $gib GiB"
}

# A parameter that gets a value: `set_parameter Vpc vpc-…`.
set_parameter() {
    parameters+=("ParameterKey=$1,ParameterValue=${2//,/\\,}")
    named+=" $1 "
}

# The parameters of the stack that is there keep their values, but for those that were set.
keep_others() {
    local name
    for name in $(aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].Parameters[].ParameterKey' --output text); do
        # One that the template does not have any more goes.
        grep -q "^  $name:\$" infra/site.yml || continue
        if [[ $named != *" $name "* ]]; then parameters+=("ParameterKey=$name,UsePreviousValue=true"); fi
    done
}

template=(--template-body file://infra/site.yml --capabilities CAPABILITY_NAMED_IAM)

create_stack() {
    tell "some minutes"
    aws cloudformation create-stack --stack-name "$stack" "${template[@]}" --parameters "${parameters[@]}" >/dev/null
    settle
    [[ $status == CREATE_COMPLETE ]] || {
        tell_failures
        die "The stack was not made." "Cure what is said above and start this again: it deletes what was half made."
    }
}

update_stack() {
    local answer
    keep_others
    if answer=$(aws cloudformation update-stack --stack-name "$stack" "${template[@]}" --parameters "${parameters[@]}" 2>&1); then
        settle
        [[ $status == UPDATE_COMPLETE ]] || {
            tell_failures
            die "The stack was not brought up to date; it is as it was before." "Cure what is said above and start this again."
        }
        changed=1
    elif [[ $answer == *'No updates are to be performed'* ]]; then
        tell "nothing is to be changed"
    else
        die "CloudFormation refuses the update: ${answer//$'\n'/ }"
    fi
}

# What is asked for by the options, for a stack of any age.
asked_parameters() {
    parameters=() named=
    [[ -z $repository ]] || set_parameter Repository "$repository"
    [[ -z $branch ]] || set_parameter Branch "$branch"
    [[ -z $domain ]] || set_parameter Domain "$domain"
    [[ -z $email ]] || set_parameter Email "$email"
}

new_stack() {
    local vpc='' zone='' subnets='' gib=0 bucket
    [[ -n $repository ]] || repository=$(origin_repository)
    [[ $repository == */* ]] || die "Which repository on GitHub is the site to be released from?" \
        "Give it: ./scripts/aws-up.sh owner/name"
    tell "releases $repository"
    say "Looking for a network"
    find_network
    say "Looking for a golden image"
    bake_subnets=$subnets
    find_image
    say "Looking for data of a former stack"
    find_snapshot
    asked_parameters
    set_parameter GoldenImage "$image"
    set_parameter Vpc "$vpc"
    set_parameter Subnet "$subnet"
    set_parameter Zone "$zone"
    set_parameter MachineSubnets "$subnets"
    if [[ -n $snapshot ]]; then
        set_parameter DataSnapshot "$snapshot"
        set_parameter DataGib "$((gib > 20 ? gib : 20))"
    fi
    bucket=$stack-backups-$account-$region
    if has_bucket "$bucket"; then
        tell "keeps the backups in $bucket"
        set_parameter BackupBucket "$bucket"
    fi
    say "Making the stack $stack"
    create_stack
}

# An instance cannot have the volume while another has it: the server goes before its successor comes.
replace_server() {
    local server
    say "Replacing the server by one from $image: the site does not answer for some minutes"
    await_deployments
    server=$(of_stack Outputs ServerId)
    [[ -z $server ]] || stop_server "$server"
    asked_parameters
    set_parameter GoldenImage "$image"
    set_parameter ServerState absent
    update_stack
}

old_stack() {
    local server current
    if [[ -n $image ]]; then
        say "Looking for a golden image"
        bake_subnets=$(of_stack Parameters MachineSubnets)
        current=$(of_stack Parameters GoldenImage)
        find_image
        if [[ $image != "$current" ]]; then replace_server; fi
    fi
    say "Bringing the stack $stack up to date"
    asked_parameters
    set_parameter ServerState present
    find_connection
    # CloudFormation does not make again what somebody deleted; by another name it makes another one.
    [[ -n $connection ]] || set_parameter ConnectionName "$stack-$(date -u +%y%m%d%H%M)"
    update_stack
    server=$(of_stack Outputs ServerId)
    if [[ $(machine_state "$server") == stopped ]]; then
        tell "starting $server, which is stopped"
        aws ec2 start-instances --instance-ids "$server" >/dev/null
    fi
}

make_stack() {
    say "Looking for the stack $stack"
    settle
    case $status in
    REVIEW_IN_PROGRESS | CREATE_FAILED | ROLLBACK_COMPLETE | ROLLBACK_FAILED)
        tell "deleting what was half made"
        aws cloudformation delete-stack --stack-name "$stack"
        settle
        [[ -z $status ]] || {
            tell_failures
            die "What was half made could not be deleted." "Cure what is said above and start this again."
        }
        ;;
    DELETE_FAILED) die "The stack is half deleted." "Finish that first: ./scripts/aws-down.sh --stack $stack" ;;
    UPDATE_ROLLBACK_FAILED | UPDATE_FAILED)
        tell_failures
        die "An update of the stack failed, and could not be taken back." \
            "aws cloudformation continue-update-rollback --stack-name $stack" "Then start this again."
        ;;
    esac
    if [[ -z $status ]]; then new_stack; else old_stack; fi
}

# Waits until the site itself says that it is well.
await_site() {
    local url address began=$SECONDS asked
    url=$(of_stack Outputs SiteUrl)
    address=$(of_stack Outputs SiteAddress)
    say "The site"
    if [[ $url == https:* ]]; then
        tell "the A record of ${url#https://} has to be $address; until it is, the site is at http://$address"
    fi
    while true; do
        for asked in "$url" "http://$address"; do
            if curl -fsS --max-time 10 "$asked/healthz" 2>/dev/null | grep -q '"version"'; then
                tell "answers at $asked"
                site=$asked
                return
            fi
        done
        ((SECONDS - began < 900)) || die "The release is there, and the site does not answer at $url/healthz." \
            "Look at its log: aws ssm start-session --target $(of_stack Outputs ServerId), then /var/log/ec-deployer/"
        sleep "$pause"
    done
}

say "Who you are to AWS"
check_stack_name
check_account
make_stack
fill_server
await_approval
release
bring_settings
await_site
cat <<END

The site is at $site

The first admin is made on its server, which you enter by Session Manager:

    aws ssm start-session --region $region --target $(of_stack Outputs ServerId)
    sudo ec-deployer user add NAME --admin

Each push to the branch $(of_stack Parameters Branch) of $(of_stack Parameters Repository) is released from now on.
END
