"""AWS's command line on the PATH of scripts under test. All that moto answers goes on to the real one, which asks moto.
Connections, pipelines and deployments, which moto does not make with a stack, are answered here from a file; the real
command line looks at what was asked of them all the same, and each answer is held against the service's model.

A test may have one call cut the script off, as a power failure would, before it is done or after."""

import fcntl
import json
import os
import signal
import subprocess
import sys

HERE = os.environ["EC_TEST_AWS"]
REAL = os.environ["EC_TEST_REAL_AWS"]
SERVICES = {
    "codebuild": "codebuild",
    "codeconnections": "codeconnections",
    "codepipeline": "codepipeline",
    "deploy": "codedeploy",
}
ARN = "arn:aws:codeconnections:eu-west-1:123456789012:connection/"
ALIVE = ("pending", "running", "stopping", "stopped")


class Refused(Exception):
    """What a service answers instead."""


def options(words):
    """The options of a call, each with its values."""
    found, name = {}, None
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            found[name] = []
        elif name:
            found[name].append(word)
    return found


def one(asked, name):
    return asked[name][0]


def real(words):
    return subprocess.run([REAL, *words], check=False)


def asked_of_moto(*words):
    """What moto answers."""
    found = subprocess.run([REAL, *words, "--output", "json"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(found.stdout or "null")


def chosen(words, name):
    """The value that a change gives a parameter; nothing where it stays."""
    start = f"ParameterKey={name},ParameterValue="
    return next((word.removeprefix(start) for word in words if word.startswith(start)), None)


def server(stack, states=("running",)):
    """The id of the machine that CodeDeploy would find, or of one in another state."""
    query = "Reservations[].Instances[].InstanceId | [0]"
    filters = [f"Name=instance-state-name,Values={','.join(states)}"]
    filters += [f"Name=tag:ec-deployer:stack,Values={stack}", "Name=tag:ec-deployer:role,Values=site"]
    return asked_of_moto("ec2", "describe-instances", "--filters", *filters, "--query", query)


def deploy(state, stack, revision, status="Succeeded"):
    deployment = f"d-{len(state['deployments']) + 1:09}"
    made = {"id": deployment, "status": status, "target": server(stack) or "None", "revision": revision}
    state["deployments"].append(made)
    return deployment


def step(execution, state, stack):
    """An execution goes on by one look at it."""
    if execution["status"] != "InProgress":
        return
    execution["looks"] -= 1
    if execution["looks"] < 0:
        execution["status"] = state["outcome"]
        if state["outcome"] == "Succeeded":
            key = f"{stack}/Release/{execution['id']}"
            location = {"bucket": "artifacts", "key": key, "bundleType": "zip", "eTag": "e"}
            deploy(state, stack, {"revisionType": "S3", "s3Location": location})


def answer(state, operation, asked):
    """What the service says."""
    if operation == "get-connection":
        arn = one(asked, "connection-arn")
        name = arn.removeprefix(ARN)
        if name not in state["connections"]:
            raise Refused("ResourceNotFoundException", "Connection not found")
        state["connections"][name] -= 1
        status = "AVAILABLE" if state["connections"][name] < 0 else "PENDING"
        return {"Connection": {"ConnectionName": name, "ConnectionArn": arn, "ConnectionStatus": status}}
    if operation == "list-report-groups":
        return {"reportGroups": state["reports"]}
    stack = (asked.get("pipeline-name") or asked.get("name") or asked.get("application-name") or [""])[0]
    executions = state["executions"].setdefault(stack, [])
    if operation == "list-pipeline-executions":
        summaries = [{"pipelineExecutionId": each["id"], "status": each["status"]} for each in reversed(executions)]
        return {"pipelineExecutionSummaries": summaries}
    if operation == "start-pipeline-execution":
        approved = state["connections"][state["connection_of"][stack]] <= 0
        new = {"id": f"e-{len(executions) + 1}", "status": "InProgress" if approved else "Failed"}
        executions.append({**new, "looks": state["build"]})
        return {"pipelineExecutionId": new["id"]}
    if operation == "get-pipeline-execution":
        [found] = [each for each in executions if each["id"] == one(asked, "pipeline-execution-id")]
        step(found, state, stack)
        return {"pipelineExecution": {"pipelineExecutionId": found["id"], "status": found["status"]}}
    if operation == "get-pipeline-state":
        return {"stageStates": [{"stageName": "Build", "latestExecution": {"status": "InProgress"}}]}
    if operation == "list-action-executions":
        result = {"externalExecutionSummary": "a test failed", "externalExecutionUrl": "https://console/log"}
        failed = {"stageName": "Build", "status": "Failed", "output": {"executionResult": result}}
        return {"actionExecutionDetails": [failed]}
    by_id = {each["id"]: each for each in state["deployments"]}
    if operation == "get-deployment-group":
        good = [each["id"] for each in state["deployments"] if each["status"] == "Succeeded"]
        last = {"lastSuccessfulDeployment": {"deploymentId": good[-1]}} if good else {}
        return {"deploymentGroupInfo": last}
    if operation == "list-deployments":
        state["active"] -= 1
        return {"deployments": ["d-active"] if state["active"] >= 0 else []}
    if operation == "list-deployment-targets":
        return {"targetIds": [by_id[one(asked, "deployment-id")]["target"]]}
    if operation == "get-deployment":
        found = by_id[one(asked, "deployment-id")]
        return {"deploymentInfo": {"status": found["status"], "revision": found["revision"]}}
    if operation == "create-deployment":
        status = "Failed" if state["expired"] else "Succeeded"
        return {"deploymentId": deploy(state, stack, json.loads(one(asked, "revision")), status)}
    raise SystemExit(f"nobody answers {operation}")


def fits(value, shape, path):
    """Ends where an answer has what the service's model does not."""
    if shape.type_name == "structure":
        for key, part in value.items():
            assert key in shape.members, f"{path}.{key} is in no answer of the service"
            fits(part, shape.members[key], f"{path}.{key}")
    elif shape.type_name == "list":
        for part in value:
            fits(part, shape.member, f"{path}[]")
    elif shape.enum:
        assert value in shape.enum, f"{path} is never {value}"


def look_at(service, operation, asked, state):
    """Has the real command line look at what is asked, of each kind once."""
    kind = " ".join([service, operation, *sorted(asked)])
    if kind in state["looked_at"]:
        return
    sent = [word for name, values in asked.items() if name not in ("query", "output") for word in (f"--{name}", *values)]
    skeleton = [REAL, service, operation, *sent, "--generate-cli-skeleton", "output"]
    looked = subprocess.run(skeleton, check=False, capture_output=True, text=True)
    # The answer that it makes up has zeros where it then takes none.
    wrong = [line for line in looked.stderr.splitlines() if line and "value: 0, valid min " not in line]
    if looked.returncode != 0 and wrong != ["Parameter validation failed:"]:
        raise SystemExit(looked.stderr)
    state["looked_at"].append(kind)


def fake(service, operation, words, state):
    # Most calls do without, and are the sooner done.
    import botocore.session
    import jmespath
    from awscli.text import format_text
    from botocore import xform_name

    asked = options(words)
    look_at(service, operation, asked, state)
    try:
        said = answer(state, operation, asked)
    except Refused as refused:
        return say_no(operation, *refused.args)
    model = botocore.session.get_session().get_service_model(SERVICES[service])
    [name] = [each for each in model.operation_names if xform_name(each, "-") == operation]
    fits(said, model.operation_model(name).output_shape, operation)
    if "query" in asked:
        said = jmespath.search(one(asked, "query"), said)
    if asked.get("output") == ["text"]:
        format_text(said, sys.stdout)
        sys.stdout.write("None\n" if said is None else "")
    else:
        json.dump(said, sys.stdout)
    return 0


def say_no(operation, code, message):
    """As the command line does."""
    name = "".join(part.capitalize() for part in operation.split("-"))
    print(f"An error occurred ({code}) when calling the {name} operation: {message}", file=sys.stderr)
    return 254


def values_after(words, stack, state):
    """The values that a change leaves a stack with: those that were ever given, over the one default that is given too."""
    values = dict(state["values"].get(stack, {"ServerState": "present"}))
    for word in words:
        if word.startswith("ParameterKey=") and not word.endswith(",UsePreviousValue=true"):
            name, value = word.removeprefix("ParameterKey=").split(",ParameterValue=", 1)
            values[name] = value
    return values


def with_given_values(words, stack, state):
    """The words of a change without what is to stay and was never given: moto knows no previous value of a default."""
    given = state.setdefault("given", {}).setdefault(stack, [])
    said = []
    for word in words:
        if word.startswith("ParameterKey="):
            key = word.removeprefix("ParameterKey=").split(",", 1)[0]
            if not word.endswith(",UsePreviousValue=true"):
                given.append(key)
            elif key not in given:
                continue
        said.append(word)
    return said


def volume_of(stack):
    query = "StackResourceSummaries[?LogicalResourceId=='DataVolume'].PhysicalResourceId | [0]"
    return asked_of_moto("cloudformation", "list-stack-resources", "--stack-name", stack, "--query", query)


def delete_volume(volume, stack):
    """Deletes a data volume as its policy says: there is a snapshot of it then, with its tags, which moto leaves out."""
    if asked_of_moto("ec2", "describe-volumes", "--filters", f"Name=volume-id,Values={volume}")["Volumes"]:
        tags = {"ResourceType": "snapshot", "Tags": [{"Key": "ec-deployer:data", "Value": stack}]}
        given = ["--volume-id", volume, "--tag-specifications", json.dumps([tags])]
        asked_of_moto("ec2", "create-snapshot", *given)
        asked_of_moto("ec2", "delete-volume", "--volume-id", volume)


def end_server(stack):
    old = server(stack, ALIVE)
    if old:
        asked_of_moto("ec2", "terminate-instances", "--instance-ids", old)


def change_server(stack, words):
    """Ends the server, or launches another one where there is none."""
    if chosen(words, "ServerState") == "absent":
        end_server(stack)
    elif not server(stack, ALIVE):
        query = "Stacks[0].Parameters[?ParameterKey=='GoldenImage'].ParameterValue | [0]"
        image = asked_of_moto("cloudformation", "describe-stacks", "--stack-name", stack, "--query", query)
        tags = [{"Key": "ec-deployer:stack", "Value": stack}, {"Key": "ec-deployer:role", "Value": "site"}]
        given = ["--tag-specifications", json.dumps([{"ResourceType": "instance", "Tags": tags}])]
        asked_of_moto("ec2", "run-instances", "--image-id", image, *given)


def stack_changed(operation, stack, state, words):
    """What CloudFormation does besides, and moto does not."""
    if operation == "create-stack":
        name = chosen(words, "ConnectionName") or stack
        state["connections"][name] = state["approval"]
        state["connection_of"][stack] = name
        # The first execution begins with the pipeline, and nobody has approved the connection yet.
        state["executions"][stack] = [{"id": "e-1", "status": "Failed", "looks": 0}]
        if state["failing"]:
            state["failing"] = False
            state["failed"] = stack
            delete_volume(volume_of(stack), stack)
    elif operation == "update-stack":
        change_server(stack, words)
        name = chosen(words, "ConnectionName")
        if name and name not in state["connections"]:
            state["connections"].pop(state["connection_of"][stack], None)
            state["connections"][name] = state["approval"]
            state["connection_of"][stack] = name
    elif operation == "delete-stack":
        end_server(stack)
        state["failed"] = None
        state["connections"].pop(state["connection_of"].pop(stack, None), None)
        state["executions"].pop(stack, None)


def stack_looked_at(stack, query, state):
    """What is said of a stack, where moto would not say it."""
    if "StackStatus" in query and state["failed"] == stack:
        return "ROLLBACK_COMPLETE"
    if "ConnectionArn" in query:
        return ARN + state["connection_of"][stack]
    if "ServerId" in query:
        return server(stack, ALIVE) or "None"
    return None


def call(service, operation, words, state):
    if service in SERVICES:
        return fake(service, operation, words, state)
    asked = options(words)
    stack = (asked.get("stack-name") or [""])[0]
    if operation == "delete-objects" and state["locked"]:
        print(json.dumps(["kept", "AccessDenied", "Access Denied"]))
        return 0
    if operation == "describe-snapshots" and state["snapshot"] and one(asked, "query") == "Snapshots[0].State":
        print(state["snapshot"])
        return 0
    if service == "cloudformation" and state["held"]:
        # Machines hold their security group: CloudFormation deletes the rest and says so.
        if operation == "delete-stack" and "retain-resources" not in asked:
            state["deleting"] = True
            return 0
        if operation == "describe-stacks" and state.get("deleting"):
            print("DELETE_FAILED")
            return 0
        if operation == "list-stack-resources" and state.get("deleting"):
            print("\t".join(state["held"]))
            return 0
        if operation == "delete-stack":
            assert asked["retain-resources"] == state["held"]
            state["held"] = []
            words = words[: words.index("--retain-resources")]
            # moto deletes it all the same.
            tags = [{"Key": "Name", "Value": f"{stack}-machine"}]
            given = ["--tag-specifications", json.dumps([{"ResourceType": "security-group", "Tags": tags}])]
            asked_of_moto("ec2", "create-security-group", "--group-name", stack, "--description", "left", *given)
    if operation == "describe-stacks":
        said = stack_looked_at(stack, one(asked, "query"), state)
        if said:
            print(said)
            return 0
    if operation == "update-stack" and state["refused"]:
        return say_no(operation, "ValidationError", "Parameter 'ServerDiskGib' must be a number not less than 8")
    if operation in ("create-stack", "update-stack"):
        values = values_after(words, stack, state)
        # moto changes a stack to what it is.
        if operation == "update-stack" and values == state["values"].get(stack):
            return say_no(operation, "ValidationError", "No updates are to be performed.")
        words = with_given_values(words, stack, state)
    volume = volume_of(stack) if operation == "delete-stack" else None
    code = real([service, operation, *words]).returncode
    if volume:
        delete_volume(volume, stack)
    if service == "cloudformation" and code == 0:
        if operation in ("create-stack", "update-stack"):
            state["values"][stack] = values
        elif operation == "delete-stack":
            state["values"].pop(stack, None)
        stack_changed(operation, stack, state, words)
    return code


def main():
    service, operation, *words = sys.argv[1:]
    name = f"{service} {operation}"
    with open(f"{HERE}/calls", "a", encoding="utf-8") as calls:
        calls.write(" ".join([name, *words]).replace("\n", " ") + "\n")
    with open(f"{HERE}/state", "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        cut, when = state["cut"] or ("", "")
        code = 0
        if cut != name or when == "after":
            sys.stdout.flush()
            code = call(service, operation, words, state)
        if cut == name:
            state["cut"] = None
        file.seek(0)
        file.truncate()
        json.dump(state, file)
    if cut == name:
        os.killpg(0, signal.SIGKILL)
    sys.exit(code)


main()
