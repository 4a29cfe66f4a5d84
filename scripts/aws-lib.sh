#!/usr/bin/env bash
# What aws-up.sh and aws-down.sh share: they run on a person's computer, and ask AWS by its own command line alone.

# shellcheck disable=SC2034 # the scripts that follow use what is set here

set -euo pipefail
# The bash of macOS is older, and knows neither what follows nor an empty list.
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
    printf '%s: This is bash %s, and 4.4 or newer is needed.\n' "${0##*/}" "$BASH_VERSION" >&2
    printf '  Install one, on macOS by: brew install bash\n' >&2
    exit 1
fi
# What fails within $(…) is a failure too.
shopt -s inherit_errexit

# The name of all that is made.
stack=ec-deployer

# Seconds between two looks at something that takes its time.
pause=${EC_PAUSE:-10}
# The second version of the command line would stop at each page of an answer.
export AWS_PAGER=

# Tells that a step begins.
say() {
    printf '\n== %s\n' "$*"
}

tell() {
    printf '   %s\n' "$*"
}

# Ends with what is wrong and what to do about it, a line each.
die() {
    printf '\n%s: %s\n' "${0##*/}" "$1" >&2
    if (($# > 1)); then printf '  %s\n' "${@:2}" >&2; fi
    exit 1
}

# The value of an option, or an end that says that it is missing: `value "$@"`.
value() {
    [[ $# -gt 1 && -n $2 ]] || die "$1 wants a value."
    printf '%s' "$2"
}

# Says who asks, and where: sets region and account.
check_account() {
    command -v aws >/dev/null || die "AWS's command line is not here." \
        "Install it: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
    region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
    [[ -n $region ]] || die "No region is chosen." "Set AWS_REGION, say: export AWS_REGION=eu-central-1"
    export AWS_REGION=$region AWS_DEFAULT_REGION=$region
    local who
    who=$(aws sts get-caller-identity --query '[Account,Arn]' --output text) || die "AWS does not know you." \
        "Sign in, by \`aws sso login\` or \`aws configure\`, or choose a profile by AWS_PROFILE; then start this again."
    read -r account identity <<<"$who"
    tell "account $account, region $region, as $identity"
}

# The stack's name is part of names of buckets and roles, and of a path of parameters.
check_stack_name() {
    [[ $stack =~ ^[a-z][a-z0-9-]{0,18}[a-z0-9]$ && $stack != aws* && $stack != ssm* ]] || die "$stack is no name for the stack." \
        "Two to twenty of a-z, 0-9 and -, a letter first, and neither aws nor ssm at the beginning."
}

# The words of an answer, ids and dates and numbers; nothing where there is none. As text each page of a long answer is
# asked on its own, and all of them together only as JSON.
words() {
    local answer found
    answer=$(aws "$@" --output json)
    [[ $answer != null ]] || return 0
    read -ra found <<<"${answer//[]\"[,$'\n']/}"
    printf '%s' "${found[*]}"
}

# The status of a stack, by its name or id; nothing where there is none.
stack_status() {
    local answer
    if answer=$(aws cloudformation describe-stacks --stack-name "$1" --query 'Stacks[0].StackStatus' --output text 2>&1); then
        printf '%s' "$answer"
    elif [[ $answer != *'does not exist'* ]]; then
        die "CloudFormation does not say what there is of the stack $1: ${answer//$'\n'/ }"
    fi
}

# A value of the stack that is there: `of_stack Outputs SiteUrl`, `of_stack Parameters Vpc`; nothing where it has none.
of_stack() {
    local one=${1%s} answer
    answer=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
        --query "Stacks[0].$1[?${one}Key=='$2'].${one}Value | [0]")
    [[ $answer == None ]] || printf '%s' "$answer"
}

# The id of a resource, by its name in the template, of the stack or of another one by its id: `resource DataVolume`.
resource() {
    words cloudformation list-stack-resources --stack-name "${2:-$stack}" \
        --query "StackResourceSummaries[?LogicalResourceId=='$1'].PhysicalResourceId | [0]"
}

# Waits until CloudFormation does nothing to the stack any more, telling each status: sets status, to nothing where
# there is no stack.
settle() {
    local before=unknown
    while true; do
        status=$(stack_status "$stack")
        if [[ $status != "$before" ]]; then tell "${status:-there is none}"; fi
        before=$status
        [[ $status == *_IN_PROGRESS && $status != REVIEW_IN_PROGRESS ]] || return 0
        sleep "$pause"
    done
}

# What CloudFormation could not do, and why: the newest reasons last.
tell_failures() {
    local found lines at name reason
    found=$(aws cloudformation describe-stack-events --stack-name "$stack" --output text \
        --query "StackEvents[?contains(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]")
    mapfile -t lines < <(grep . <<<"$found" | head -n 12)
    for ((at = ${#lines[@]} - 1; at >= 0; at--)); do
        IFS=$'\t' read -r name reason <<<"${lines[at]}"
        tell "$name: $reason" >&2
    done
}

# The state of a machine; nothing where it is no more.
machine_state() {
    aws ec2 describe-instances --filters "Name=instance-id,Values=$1" --output text \
        --query 'Reservations[].Instances[].State.Name'
}

# Stops the server and waits: it writes all that it has to the data volume, and lets go of it.
stop_server() {
    local state
    state=$(machine_state "$1")
    if [[ $state =~ ^(pending|running)$ ]]; then
        tell "stopping $1"
        aws ec2 stop-instances --instance-ids "$1" >/dev/null
    fi
    while [[ $state =~ ^(pending|running|stopping|shutting-down)$ ]]; do
        state=$(machine_state "$1")
        [[ ! $state =~ ^(pending|running|stopping|shutting-down)$ ]] || sleep "$pause"
    done
}

# Whether there is such a bucket, and it is this account's.
has_bucket() {
    local answer
    if answer=$(aws s3api head-bucket --bucket "$1" --expected-bucket-owner "$account" 2>&1); then return 0; fi
    [[ $answer == *404* || $answer == *'Not Found'* ]] || die "The bucket $1 is not this account's, or may not be looked at." \
        "Choose another name for the stack by --stack. AWS says: ${answer//$'\n'/ }"
    return 1
}

# The newest snapshot of the data of stacks of this name: its id, the time whose data it has, and its gibibytes.
newest_snapshot() {
    words ec2 describe-snapshots --owner-ids self \
        --filters "Name=tag:ec-deployer:data,Values=$stack" Name=status,Values=pending,completed \
        --query 'sort_by(Snapshots, &StartTime)[-1].[SnapshotId, StartTime, VolumeSize]'
}

# Waits until a snapshot is complete.
await_snapshot() {
    local state
    while true; do
        state=$(aws ec2 describe-snapshots --snapshot-ids "$1" --query 'Snapshots[0].State' --output text)
        case $state in
        completed) return ;;
        pending) sleep "$pause" ;;
        *) die "The snapshot $1 is of no use: $state." "Delete it, aws ec2 delete-snapshot --snapshot-id $1, and start this again." ;;
        esac
    done
}

# The data volume of a stack that was never complete and was to begin with no data. CloudFormation takes a snapshot of
# it as of any other, and a next stack would begin with that one.
blank_volume() {
    local from
    [[ $status =~ ^(CREATE_FAILED|ROLLBACK_COMPLETE|ROLLBACK_FAILED)$ ]] || return 0
    from=$(of_stack Parameters DataSnapshot)
    [[ -n $from ]] || resource DataVolume
}

# Deletes every snapshot of a volume.
delete_snapshots() {
    local found id
    found=$(aws ec2 describe-snapshots --owner-ids self --filters "Name=volume-id,Values=$1" \
        --query 'Snapshots[].SnapshotId' --output text)
    for id in $found; do
        tell "deleting the snapshot $id, which has no data"
        aws ec2 delete-snapshot --snapshot-id "$id"
    done
}
