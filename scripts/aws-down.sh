#!/usr/bin/env bash
# Deletes the site's stack from an account of AWS. The site's data stay, as a snapshot of its volume and as the backups,
# unless --delete-data is given; aws-up.sh begins with them again. At the end it says all that is left.
# shellcheck source=scripts/aws-lib.sh
source "$(dirname "$0")/aws-lib.sh"
cd "$(dirname "$0")/.."

usage="usage: ./scripts/aws-down.sh [options]

  --stack NAME       the name of what aws-up.sh made (ec-deployer)
  --leave-machines   go on although machines of projects still run, which cost. Their security group stays with them;
                     their role goes, and Systems Manager, with its shell, does not reach them any more
  --delete-data      delete the data too: every snapshot of the volume, the backups, the settings
  --yes              do not ask before the data are deleted"

leave_machines='' delete_data='' yes=''
while (($# > 0)); do
    case $1 in
    --stack)
        stack=$(value "$@")
        shift
        ;;
    --leave-machines) leave_machines=1 ;;
    --delete-data) delete_data=1 ;;
    --yes) yes=1 ;;
    -h | --help)
        echo "$usage"
        exit
        ;;
    *) die "There is no option $1." "./scripts/aws-down.sh --help lists them." ;;
    esac
    shift
done

# What sites have made, and has not ended: a line each.
machines() {
    aws ec2 describe-instances --output text \
        --filters Name=tag:ManagedBy,Values=ec-deployer Name=instance-state-name,Values=pending,running,stopping,stopped \
        --query "Reservations[].Instances[].[InstanceId, State.Name, InstanceType, Tags[?Key=='Name'].Value | [0]]"
}

check_machines() {
    local found
    say "Looking for machines of projects"
    found=$(machines)
    if [[ -z $found ]]; then
        tell "none"
        return
    fi
    while read -r line; do tell "$line"; done <<<"$found"
    [[ -n $leave_machines ]] || die "These machines of projects would be left, would cost, and nothing would look after them." \
        "Terminate them on the site's pages, or by aws ec2 terminate-instances --instance-ids …" \
        "Or leave them as they are: ./scripts/aws-down.sh --leave-machines"
}

confirm() {
    local answer
    [[ -n $delete_data && -z $yes ]] || return 0
    say "All data of the site are to be deleted: its volume and every snapshot of it, backups and settings"
    read -r -p "   For ever. Type the stack's name to go on: " answer || true
    [[ $answer == "$stack" ]] || die "Nothing was deleted."
}

# The volume with the data: the stack's, or that of the newest stack of this name that was deleted.
find_volume() {
    local id=$stack
    if [[ -z $status ]]; then
        id=$(words cloudformation list-stacks --stack-status-filter DELETE_COMPLETE \
            --query "sort_by(StackSummaries[?StackName=='$stack'], &DeletionTime)[-1].StackId")
        [[ -n $id ]] || return 0
    fi
    volume=$(resource DataVolume "$id")
}

# The volume's id, where there still is such a volume.
there_is() {
    aws ec2 describe-volumes --filters "Name=volume-id,Values=$1" --query 'Volumes[].VolumeId' --output text
}

# The snapshots of the data: those of the volume, and those that this script took of former ones.
snapshots() {
    {
        aws ec2 describe-snapshots --owner-ids self --filters "Name=tag:ec-deployer:data,Values=$stack" \
            --query 'Snapshots[].SnapshotId' --output text
        if [[ -n $volume ]]; then
            aws ec2 describe-snapshots --owner-ids self --filters "Name=volume-id,Values=$volume" \
                --query 'Snapshots[].SnapshotId' --output text
        fi
    } | tr '\t' '\n' | sed '/^$/d' | sort -u
}

# A snapshot of the volume, complete before anything is deleted. One of the same volume, of a run that was cut off,
# goes when it is there.
keep_data() {
    local there former id time
    say "Keeping the data of $volume"
    there=$(there_is "$volume")
    # A run that was cut off had its snapshot before; where the volume was lost this says of when the data are.
    if [[ -z $there ]]; then
        former=$(newest_snapshot)
        read -r id time _ <<<"$former"
        if [[ -n $id ]]; then
            tell "the volume is not there; the newest snapshot of the data is $id, of $time"
        else
            tell "the volume is not there, and neither is a snapshot of it"
        fi
        tell "backups may be newer: docs/operate.md, under Another server, says how to begin with one"
        return
    fi
    former=$(aws ec2 describe-snapshots --owner-ids self --output text --query 'Snapshots[].SnapshotId' \
        --filters "Name=volume-id,Values=$volume" "Name=tag:ec-deployer:data,Values=$stack")
    id=$(aws ec2 create-snapshot --volume-id "$volume" --description "Data of the site $stack" --query SnapshotId --output text \
        --tag-specifications "ResourceType=snapshot,Tags=[{Key=Name,Value=$stack-data},{Key=ec-deployer:data,Value=$stack}]")
    tell "$id; it takes some minutes"
    await_snapshot "$id"
    for id in $former; do aws ec2 delete-snapshot --snapshot-id "$id"; done
}

# Deletes every version of everything in a bucket.
empty_bucket() {
    local kind batch failed some=1
    batch=$(mktemp)
    while [[ -n $some ]]; do
        some=
        for kind in Versions DeleteMarkers; do
            aws s3api list-object-versions --bucket "$1" --no-paginate --output json \
                --query "{Objects: ${kind}[].{Key: Key, VersionId: VersionId}, Quiet: \`true\`}" >"$batch"
            grep -q VersionId "$batch" || continue
            some=1
            failed=$(words s3api delete-objects --bucket "$1" --delete "file://$batch" --query 'Errors[0].[Key, Code, Message]')
            [[ -z $failed ]] || die "Not all of the bucket $1 could be deleted: $failed" \
                "Cure that and start this again."
        done
    done
    rm -f "$batch"
}

empty_artifacts() {
    local bucket=$stack-artifacts-$account-$region
    if has_bucket "$bucket"; then
        tell "emptying $bucket"
        empty_bucket "$bucket"
    fi
}

# What CloudFormation could not delete and may forget: what machines that are left still hold, and a volume that is lost.
held() {
    local failed name there
    failed=$(aws cloudformation list-stack-resources --stack-name "$stack" --output text \
        --query "StackResourceSummaries[?ResourceStatus=='DELETE_FAILED'].LogicalResourceId")
    for name in $failed; do
        case $name in
        Machine*) [[ -z $leave_machines ]] || printf '%s ' "$name" ;;
        DataVolume)
            there=$(there_is "$volume")
            [[ -n $there ]] || printf '%s ' "$name"
            ;;
        esac
    done
}

# Deletes the stack, and what a last build wrote meanwhile once more.
delete_stack() {
    local try held
    say "Deleting the stack $stack"
    for try in 1 2 3; do
        empty_artifacts
        held=
        if [[ $status == DELETE_FAILED ]]; then held=$(held); fi
        if [[ -n $held ]]; then
            tell "leaving $held"
            # shellcheck disable=SC2086 # names, a word each
            aws cloudformation delete-stack --stack-name "$stack" --retain-resources $held
        else
            aws cloudformation delete-stack --stack-name "$stack"
        fi
        settle
        [[ -n $status ]] || return 0
    done
    tell_failures
    die "The stack was not deleted, after $try tries." "Cure what is said above and start this again."
}

delete_data() {
    local bucket=$stack-backups-$account-$region found id
    say "Deleting the data"
    found=$(snapshots)
    for id in $found; do
        tell "$id"
        aws ec2 delete-snapshot --snapshot-id "$id"
    done
    if has_bucket "$bucket"; then
        tell "$bucket"
        empty_bucket "$bucket"
        aws s3api delete-bucket --bucket "$bucket"
    fi
    found=$(settings)
    for id in $found; do
        tell "$id"
        aws ssm delete-parameter --name "$id"
    done
}

# The settings that people added: the others went with the stack.
settings() {
    aws ssm get-parameters-by-path --path "/$stack/site/" --recursive --query 'Parameters[].Name' --output text
}

# What carries the tag of what sites make: `made describe-volumes 'Volumes[].VolumeId'`.
made() {
    aws ec2 "$1" --filters Name=tag:ManagedBy,Values=ec-deployer --query "$2" --output text
}

# One thing that is left, and how it goes: `left NAME COMMAND`.
left() {
    some=1
    tell "$1"
    tell "    $2"
}

tell_rest() {
    local some='' found id rest bucket=$stack-backups-$account-$region
    say "What is left in $account, $region"
    found=$(snapshots)
    for id in $found; do left "the data, snapshot $id" "aws ec2 delete-snapshot --snapshot-id $id"; done
    if has_bucket "$bucket"; then left "the backups, bucket $bucket" "./scripts/aws-down.sh --stack $stack --delete-data, with all data"; fi
    found=$(settings)
    for id in $found; do left "the setting $id" "aws ssm delete-parameter --name $id"; done
    found=$(machines)
    while read -r id rest; do
        [[ -z $id ]] || left "the machine of a project $id, ${rest//$'\t'/ }" "aws ec2 terminate-instances --instance-ids $id"
    done <<<"$found"
    found=$(aws ec2 describe-security-groups --filters "Name=tag:Name,Values=$stack-machine" \
        --query 'SecurityGroups[].GroupId' --output text)
    for id in $found; do
        left "the security group $id of machines that were left" "aws ec2 delete-security-group --group-id $id, when they are gone"
    done
    found=$(made describe-addresses 'Addresses[].AllocationId')
    for id in $found; do left "the Elastic IP of a project $id" "aws ec2 release-address --allocation-id $id"; done
    found=$(made describe-volumes "Volumes[?State=='available'].VolumeId")
    for id in $found; do left "the disk of a project $id" "aws ec2 delete-volume --volume-id $id"; done
    found=$(made describe-images 'Images[].[ImageId, BlockDeviceMappings[0].Ebs.SnapshotId]')
    while read -r id rest; do
        [[ -z $id ]] || left "the golden image $id, with its snapshot $rest" \
            "aws ec2 deregister-image --image-id $id && aws ec2 delete-snapshot --snapshot-id $rest"
    done <<<"$found"
    # CodeBuild made it, and names it after its project.
    found=$(aws codebuild list-report-groups --output text \
        --query "reportGroups[?ends_with(@, ':report-group/$stack-tests')]")
    for id in $found; do
        left "the reports of tests $id" "aws codebuild delete-report-group --delete-reports --arn $id"
    done
    [[ -n $some ]] || tell "nothing"
    tell "At GitHub, under Settings, Applications, is AWS's right to read the repository."
}

volume=''
say "Who you are to AWS"
check_stack_name
check_account
say "Looking for the stack $stack"
settle
find_volume
if [[ -n $status ]]; then check_machines; fi
confirm
if [[ -n $status ]]; then
    blank=$(blank_volume)
    server=$(resource Server)
    if [[ -n $server ]]; then
        say "Stopping the server"
        stop_server "$server"
    fi
    if [[ -n $volume && -z $blank && -z $delete_data ]]; then keep_data; fi
    delete_stack
    [[ -z $blank ]] || delete_snapshots "$blank"
fi
if [[ -n $delete_data ]]; then delete_data; fi
tell_rest
