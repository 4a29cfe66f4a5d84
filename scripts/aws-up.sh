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
  --subnet ID        the server's subnet; by default one of the default VPC. Another one of the same zone replaces the
                     server too
  --snapshot ID      what the data of a new stack are made of: a snapshot, or none; by default the newest that
                     aws-down.sh left
  --set NAME=VALUE   another parameter of infra/site.yml, ServerType, ServerDiskGib or DataGib, say; may be repeated
  --program FILE     a built ec-deployer, to bake by; by default it is built here

Region and credentials are those of AWS's command line. EC_PAUSE is how many seconds are between two looks (10)."

# What is asked for: values by the names of the template's parameters. The last one counts.
declare -A asked=()
image='' snapshot='' program=''

# The names of the template's parameters.
known=$(sed -n '/^Parameters:$/,/^Conditions:$/s/^  \([A-Za-z]*\):$/\1/p' infra/site.yml)
known=${known//$'\n'/ }

# Takes NAME=VALUE for one of them.
ask() {
    local name=${1%%=*}
    [[ $1 == *=* ]] || die "--set wants NAME=VALUE, not $1." "Say: --set ServerType=t3.medium"
    [[ " $known " == *" $name "* ]] || die "infra/site.yml has no parameter $name." "It has $known."
    case $name in
    GoldenImage) die "What the server boots from is chosen by --image." ;;
    DataSnapshot) die "What the data of a new stack are made of is chosen by --snapshot." ;;
    Vpc | Zone) die "$name is that of the subnet, which is chosen by --subnet." ;;
    ServerState) die "Whether there is a server is not to be chosen." "Stop it, or take the stack down: ./scripts/aws-down.sh" ;;
    esac
    asked[$name]=${1#*=}
}

while (($# > 0)); do
    case $1 in
    --stack) stack=$(value "$@") ;;
    --branch) asked[Branch]=$(value "$@") ;;
    --domain) asked[Domain]=$(value "$@") ;;
    --email) asked[Email]=$(value "$@") ;;
    --image) image=$(value "$@") ;;
    --subnet) asked[Subnet]=$(value "$@") ;;
    --snapshot) snapshot=$(value "$@") ;;
    --set)
        pair=$(value "$@")
        ask "$pair"
        ;;
    --program) program=$(value "$@") ;;
    -h | --help)
        echo "$usage"
        exit
        ;;
    -*) die "There is no option $1." "./scripts/aws-up.sh --help lists them." ;;
    *) asked[Repository]=$1 ;;
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
    local type=${asked[ServerType]:-t3.small} zones rows filter
    subnet=${asked[Subnet]:-}
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

# The newest good golden image: its id, and when it was made.
newest_image() {
    words ec2 describe-images --owners self \
        --filters Name=tag:ManagedBy,Values=ec-deployer Name=tag:ec-deployer:state,Values=good Name=state,Values=available \
        --query 'sort_by(Images, &CreationDate)[-1].[ImageId, CreationDate]'
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
    CLOUD=ec2 STATE_DIR="$state_dir" SUBNET_IDS="$bake_subnets" \
        "$program" bake || die "The golden image was not baked." "Its log above says why. Start this again when that is cured."
}

# A good image of the last hour that is newer than the server's own, $1: sets image. A run that was cut off has left it.
find_baked() {
    local since own='' id made
    TZ=UTC0 printf -v since '%(%FT%T)T' "$(($(date +%s) - 3600))"
    [[ -z $1 ]] || own=$(words ec2 describe-images --filters "Name=image-id,Values=$1" --query 'Images[0].CreationDate')
    if [[ $own > $since ]]; then since=$own; fi
    made=$(newest_image)
    read -r id made <<<"$made"
    if [[ $made > $since ]]; then image=$id; else image=; fi
}

# Chooses what the server boots from, which is $1 now: sets image.
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
        find_baked "$1"
        if [[ -n $image ]]; then
            tell "one was baked within the last hour"
        else
            bake
            image=$(newest_image)
        fi
        ;;
    *) die "--image wants an image's id, newest or bake, not $image." ;;
    esac
    read -r image _ <<<"$image"
    [[ -n $image ]] || die "There is no golden image in $region, although one was baked." \
        "Look for images with the tags ManagedBy=ec-deployer and ec-deployer:state=good."
    tell "$image"
}

# CloudFormation finds out that an image is not there when the server that it replaces is gone.
check_image() {
    local state
    state=$(words ec2 describe-images --filters "Name=image-id,Values=$image" --query 'Images[0].State')
    [[ $state == available ]] || die "The image $image is not to be had in $region: ${state:-there is none}." \
        "Take another one: --image newest, or --image bake"
}

# The newest snapshot that aws-down.sh left of a stack of this name: sets snapshot and gib.
find_snapshot() {
    local found time
    if [[ $snapshot == none ]]; then
        snapshot=
        tell "begins with no data"
        return
    fi
    if [[ -z $snapshot ]]; then
        found=$(newest_snapshot)
        if [[ -z $found ]]; then
            tell "none is left of a former stack: begins with no data"
            return
        fi
        read -r snapshot _ <<<"$found"
    fi
    await_snapshot "$snapshot"
    found=$(words ec2 describe-snapshots --snapshot-ids "$snapshot" --query 'Snapshots[0].[StartTime, VolumeSize]')
    read -r time gib <<<"$found"
    tell "restores $snapshot, of $gib GiB: the data as they were at $time"
    tell "where a backup is newer than that, begin with --snapshot none, and restore it"
}

# The parameters of what is done next: values that are given here, by their names, and over them what is asked for.
choose() {
    local -A values=()
    local name
    while (($# > 0)); do
        values[$1]=$2
        shift 2
    done
    for name in "${!asked[@]}"; do values[$name]=${asked[$name]}; done
    parameters=()
    for name in "${!values[@]}"; do parameters+=("ParameterKey=$name,ParameterValue=${values[$name]//,/\\,}"); done
}

# The parameters of the stack that is there keep their values, but for those that were chosen.
keep_others() {
    local name names
    names=$(aws cloudformation describe-stacks --stack-name "$stack" --query 'Stacks[0].Parameters[].ParameterKey' --output text)
    for name in $names; do
        # One that the template does not have any more goes.
        [[ " $known " == *" $name "* && " ${parameters[*]}" != *" ParameterKey=$name,"* ]] || continue
        parameters+=("ParameterKey=$name,UsePreviousValue=true")
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
    mark_change
    if answer=$(aws cloudformation update-stack --stack-name "$stack" "${template[@]}" --parameters "${parameters[@]}" 2>&1); then
        settle
        [[ $status == UPDATE_COMPLETE ]] || {
            tell_failures
            start_server
            unmark_change
            die "The stack was not brought up to date; it is as it was before." "Cure what is said above and start this again."
        }
        changed=1
    elif [[ $answer == *'No updates are to be performed'* ]]; then
        tell "nothing is to be changed"
        unmark_change
    else
        start_server
        unmark_change
        die "CloudFormation refuses the update: ${answer//$'\n'/ }"
    fi
}

new_stack() {
    local vpc='' subnet='' zone='' subnets='' gib='' bucket found
    [[ -n ${asked[Repository]:-} ]] || asked[Repository]=$(origin_repository)
    [[ ${asked[Repository]} == */* ]] || die "Which repository on GitHub is the site to be released from?" \
        "Give it: ./scripts/aws-up.sh owner/name"
    tell "releases ${asked[Repository]}"
    say "Looking for a network"
    find_network
    say "Looking for a golden image"
    bake_subnets=$subnets
    find_image ''
    check_image
    say "Looking for data of a former stack"
    find_snapshot
    found=(GoldenImage "$image" Vpc "$vpc" Subnet "$subnet" Zone "$zone" MachineSubnets "$subnets")
    if [[ -n $snapshot ]]; then found+=(DataSnapshot "$snapshot" DataGib "$((gib > 20 ? gib : 20))"); fi
    bucket=$stack-backups-$account-$region
    if has_bucket "$bucket"; then
        tell "keeps the backups in $bucket"
        found+=(BackupBucket "$bucket")
    fi
    choose "${found[@]}"
    say "Making the stack $stack"
    create_stack
}

# An instance cannot have the volume while another has it: the server goes before its successor comes.
replace_server() {
    local server
    check_image
    say "Replacing the server by one from $image: the site does not answer for some minutes"
    await_deployments
    server=$(of_stack Outputs ServerId)
    [[ -z $server ]] || stop_server "$server"
    choose GoldenImage "$image" ServerState absent
    update_stack
}

# Starts the server where it is stopped: by a person, or to be replaced, which then was refused.
start_server() {
    local server state
    server=$(of_stack Outputs ServerId)
    [[ -n $server ]] || return 0
    state=$(machine_state "$server")
    [[ $state == stopped ]] || return 0
    tell "starting $server, which is stopped"
    aws ec2 start-instances --instance-ids "$server" >/dev/null
}

# The data volume cannot follow a server to another zone.
check_subnet() {
    local zone there
    zone=$(of_stack Parameters Zone)
    there=$(aws ec2 describe-subnets --subnet-ids "$1" --query 'Subnets[0].AvailabilityZone' --output text)
    [[ $there == "$zone" ]] || die "The subnet $1 is in $there, and the data volume in $zone." \
        "Move the site with its data: ./scripts/aws-down.sh, then ./scripts/aws-up.sh --subnet $1. Its address changes."
}

old_stack() {
    local current another='' name now state='' given=(ServerState present)
    current=$(of_stack Parameters GoldenImage)
    if [[ -n $image ]]; then
        say "Looking for a golden image"
        # A run that was cut off has baked it, and has taken the server away.
        [[ $image != bake ]] || state=$(of_stack Parameters ServerState)
        if [[ $state == absent ]]; then image=$current; fi
        bake_subnets=$(of_stack Parameters MachineSubnets)
        [[ -n $bake_subnets ]] || bake_subnets=$(of_stack Parameters Subnet)
        find_image "$current"
    fi
    image=${image:-$current}
    [[ $image == "$current" ]] || another=1
    # CloudFormation makes another server for these, as for an image.
    for name in Subnet ServerDiskGib; do
        [[ -n ${asked[$name]+is} ]] || continue
        now=$(of_stack Parameters "$name")
        [[ ${asked[$name]} == "$now" ]] || another=1
    done
    [[ -z ${asked[Subnet]:-} ]] || check_subnet "${asked[Subnet]}"
    if [[ -n $another ]]; then replace_server; fi
    say "Bringing the stack $stack up to date"
    find_connection
    # CloudFormation does not make again what somebody deleted; by another name it makes another one.
    [[ -n $connection ]] || given+=(ConnectionName "$stack-$(date -u +%y%m%d%H%M)")
    choose "${given[@]}"
    update_stack
    start_server
}

make_stack() {
    local blank
    say "Looking for the stack $stack"
    settle
    case $status in
    REVIEW_IN_PROGRESS | CREATE_FAILED | ROLLBACK_COMPLETE | ROLLBACK_FAILED)
        tell "deleting what was half made"
        blank=$(blank_volume)
        aws cloudformation delete-stack --stack-name "$stack"
        settle
        [[ -z $status ]] || {
            tell_failures
            die "What was half made could not be deleted." "Cure what is said above and start this again."
        }
        [[ -z $blank ]] || delete_snapshots "$blank"
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
    local url address began=$SECONDS place
    url=$(of_stack Outputs SiteUrl)
    address=$(of_stack Outputs SiteAddress)
    say "The site"
    if [[ $url == https:* ]]; then
        tell "the A record of ${url#https://} has to be $address; until it is, the site is at http://$address"
    fi
    while true; do
        for place in "$url" "http://$address"; do
            if curl -fsS --max-time 10 "$place/healthz" 2>/dev/null | grep -q '"version"'; then
                tell "answers at $place"
                site=$place
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
find_change
make_stack
fill_server
await_approval
release
bring_settings
await_site
plugin=''
command -v session-manager-plugin >/dev/null || plugin="
It wants a plugin that is not here:
https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html
"
cat <<END

The site is at $site

The first admin is made on its server, which you enter by Session Manager:

    aws ssm start-session --region $region --target $(of_stack Outputs ServerId)
    sudo ec-deployer user add NAME --admin
$plugin
Each push to the branch $(of_stack Parameters Branch) of $(of_stack Parameters Repository) is released from now on.
END
