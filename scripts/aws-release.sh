#!/usr/bin/env bash
# What aws-up.sh does once the stack is there: the connection to GitHub, the pipeline's run, and what is deployed without
# one.

# shellcheck source=scripts/aws-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/aws-lib.sh"

changed='' # whether the stack that was there is another now, and no release knows
anew=''    # whether there is no release to be had but a new one

# What is kept on this computer from run to run.
state_dir=${XDG_STATE_HOME:-$HOME/.local/state}/ec-deployer-up

# The mark of a change of the stack that may not have come to the server yet.
mark_of_change() {
    printf '%s' "$state_dir/$account-$region-$stack.changed"
}

# Whether a run that was cut off has left such a mark: sets changed.
find_change() {
    if [[ -e $(mark_of_change) ]]; then changed=1; fi
}

# Leaves the mark, before the stack changes.
mark_change() {
    install -d -m 700 "$state_dir"
    : >"$(mark_of_change)"
}

# Removes it where there is nothing to be brought.
unmark_change() {
    if [[ -z $changed ]]; then rm -f "$(mark_of_change)"; fi
}

# The stack's connection to GitHub: sets connection to its name and its status, and to nothing where it was deleted.
find_connection() {
    local arn answer
    arn=$(of_stack Outputs ConnectionArn)
    connection=
    if answer=$(aws codeconnections get-connection --connection-arn "$arn" --output text \
        --query 'Connection.[ConnectionName,ConnectionStatus]' 2>&1); then
        connection=$answer
    elif [[ $answer != *ResourceNotFoundException* ]]; then
        die "The connection to GitHub cannot be looked at: ${answer//$'\n'/ }" \
            "An older command line of AWS does not know it: install the newest."
    fi
}

# A person signs in to GitHub and lets AWS read the repository: nobody else can.
await_approval() {
    local began=$SECONDS name state told=
    say "The connection to GitHub"
    while true; do
        find_connection
        [[ -n $connection ]] || die "Somebody has deleted the connection." "Start this again: it makes another one."
        read -r name state <<<"$connection"
        [[ $state != AVAILABLE ]] || break
        if [[ -z $told ]]; then
            tell "It waits for you. Open this link, choose $name, then Update pending connection, and follow GitHub:"
            tell "https://console.aws.amazon.com/codesuite/settings/connections?region=$region"
        fi
        told=1
        ((SECONDS - began < 7200)) || die "Nobody approved the connection in two hours." "Start this again when you have."
        sleep "$pause"
    done
    tell "approved"
}

# Runs the pipeline to its end, and tells each stage. One that runs already is waited for; the newest that failed, by a
# connection that was not approved yet, say, is followed by another one.
release() {
    local id='' state='' found before=
    say "The pipeline $stack: fetches, tests, builds and releases; about half an hour"
    found=$(aws codepipeline list-pipeline-executions --pipeline-name "$stack" --output text \
        --query 'pipelineExecutionSummaries[0].[pipelineExecutionId,status]')
    read -r id state <<<"$found"
    if [[ $state != InProgress && ($state != Succeeded || -n $anew) ]]; then
        tell "the last run: ${state/None/none}"
        id=$(aws codepipeline start-pipeline-execution --name "$stack" --query pipelineExecutionId --output text)
        tell "started"
        # It brings the settings too.
        anew='' changed=''
    fi
    while true; do
        state=$(aws codepipeline get-pipeline-execution --pipeline-name "$stack" --pipeline-execution-id "$id" \
            --query pipelineExecution.status --output text)
        [[ $state == InProgress ]] || break
        found=$(aws codepipeline get-pipeline-state --name "$stack" --output text \
            --query "stageStates[?latestExecution.status=='InProgress'].stageName | [0]")
        if [[ $found != "$before" && $found != None ]]; then tell "$found"; fi
        before=$found
        sleep "$pause"
    done
    case $state in
    Succeeded) tell "released" ;;
    # A newer push has taken its place.
    Superseded | Cancelled | Stopped | Stopping) die "The run of the pipeline ended: $state." "Start this again to wait for the next." ;;
    *)
        aws codepipeline list-action-executions --pipeline-name "$stack" --filter "pipelineExecutionId=$id" --output text \
            --query "actionExecutionDetails[?status=='Failed'].[stageName, output.executionResult.externalExecutionSummary, output.executionResult.externalExecutionUrl]" >&2
        die "The release failed." "What is said above names the stage, and where its log is. Start this again when it is cured."
        ;;
    esac
}

# Waits until nothing is deployed: CodeDeploy takes one deployment at a time, and a server that is stopped in the midst
# of one never ends it.
await_deployments() {
    local found before=
    while true; do
        found=$(words deploy list-deployments --application-name "$stack" --deployment-group-name site \
            --include-only-statuses Created Queued InProgress Baking Ready --query 'deployments[0]')
        [[ -n $found ]] || return 0
        [[ $found == "$before" ]] || tell "waits for the deployment $found; to end it: aws deploy stop-deployment --deployment-id $found"
        before=$found
        sleep "$pause"
    done
}

# The last deployment that went well; nothing where there was none.
last_deployment() {
    words deploy get-deployment-group --application-name "$stack" --deployment-group-name site \
        --query deploymentGroupInfo.lastSuccessfulDeployment.deploymentId
}

# Deploys once more what a deployment did. Artifacts expire: what is not there any more is to be built anew.
deploy_again() {
    local revision id state
    revision=$(aws deploy get-deployment --deployment-id "$1" --query deploymentInfo.revision --output json)
    if ! id=$(aws deploy create-deployment --application-name "$stack" --deployment-group-name site \
        --revision "$revision" --query deploymentId --output text); then
        anew=1
        return
    fi
    while true; do
        state=$(aws deploy get-deployment --deployment-id "$id" --query deploymentInfo.status --output text)
        [[ $state =~ ^(Created|Queued|InProgress|Baking|Ready)$ ]] || break
        sleep "$pause"
    done
    tell "$id: $state"
    if [[ $state == Succeeded ]]; then changed=''; else anew=1; fi
}

# A server that was made anew has no release. It gets the last one at once, before anything that may fail or take its
# time; the very first release is the pipeline's.
fill_server() {
    local server last targets
    await_deployments
    last=$(last_deployment)
    [[ -n $last ]] || return 0
    server=$(of_stack Outputs ServerId)
    targets=$(aws deploy list-deployment-targets --deployment-id "$last" --query targetIds --output text)
    [[ " ${targets//$'\t'/ } " != *" $server "* ]] || return 0
    say "The release before on the new server"
    deploy_again "$last"
}

# Settings come to the server with a release: where the stack has changed the last one comes once more.
bring_settings() {
    local last
    unmark_change
    [[ -n $changed ]] || return 0
    await_deployments
    last=$(last_deployment)
    [[ -n $last ]] || return 0
    say "The release before with the settings as they are now"
    deploy_again "$last"
    if [[ -n $anew ]]; then release; fi
    unmark_change
}
