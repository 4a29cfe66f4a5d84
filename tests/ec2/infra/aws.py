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

import botocore.session
import jmespath
from awscli.text import format_text
from botocore import xform_name

HERE = os.environ["EC_TEST_AWS"]
REAL = os.environ["EC_TEST_REAL_AWS"]
SERVICES = {"codeconnections": "codeconnections", "codepipeline": "codepipeline", "deploy": "codedeploy"}


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


def server(stack):
    """The id of the machine that CodeDeploy would find."""
    query = "Reservations[].Instances[?State.Name=='running'].InstanceId | [] | [0]"
    filters = [f"Name=tag:ec-deployer:stack,Values={stack}", "Name=tag:ec-deployer:role,Values=site"]
    words = [REAL, "ec2", "describe-instances", "--filters", *filters, "--query", query, "--output", "text"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def deploy(state, stack, revision, status="Succeeded"):
    deployment = f"d-{len(state['deployments']) + 1:09}"
    made = {"id": deployment, "status": status, "target": server(stack), "revision": revision}
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
    if operation == "list-connections":
        connections = []
        for name, looks in state["connections"].items():
            state["connections"][name] = looks - 1
            status = "AVAILABLE" if looks <= 0 else "PENDING"
            arn = "arn:aws:codeconnections:eu-west-1:123456789012:connection/1"
            connections.append({"ConnectionName": name, "ConnectionArn": arn, "ConnectionStatus": status})
        return {"Connections": connections}
    stack = (asked.get("pipeline-name") or asked.get("name") or asked.get("application-name") or [""])[0]
    executions = state["executions"].setdefault(stack, [])
    if operation == "list-pipeline-executions":
        summaries = [{"pipelineExecutionId": each["id"], "status": each["status"]} for each in reversed(executions)]
        return {"pipelineExecutionSummaries": summaries}
    if operation == "start-pipeline-execution":
        approved = state["connections"][stack] <= 0
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


def fake(service, operation, words, state):
    asked = options(words)
    sent = [word for name, values in asked.items() if name not in ("query", "output") for word in (f"--{name}", *values)]
    skeleton = [REAL, service, operation, *sent, "--generate-cli-skeleton", "output"]
    looked = subprocess.run(skeleton, check=False, capture_output=True, text=True)
    # The answer that it makes up has zeros where it then takes none.
    wrong = [line for line in looked.stderr.splitlines() if line and "value: 0, valid min " not in line]
    if looked.returncode != 0 and wrong != ["Parameter validation failed:"]:
        raise SystemExit(looked.stderr)
    said = answer(state, operation, asked)
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


def stack_changed(operation, stack, state, words):
    """What CloudFormation does besides, and moto does not."""
    if operation == "create-stack":
        state["connections"][stack] = state["approval"]
        # The first execution begins with the pipeline, and nobody has approved the connection yet.
        state["executions"][stack] = [{"id": "e-1", "status": "Failed", "looks": 0}]
    elif operation == "update-stack" and "ParameterKey=ServerState,ParameterValue=absent" in words:
        old = server(stack)
        if old not in ("", "None"):
            real(["ec2", "terminate-instances", "--instance-ids", old])
    elif operation == "delete-stack":
        state["connections"].pop(stack, None)
        state["executions"].pop(stack, None)


def call(service, operation, words, state):
    if service in SERVICES:
        return fake(service, operation, words, state)
    stack = (options(words).get("stack-name") or [""])[0]
    if service == "cloudformation" and state["held"]:
        # Machines hold their security group: CloudFormation deletes the rest and says so.
        if operation == "delete-stack" and "retain-resources" not in options(words):
            state["deleting"] = True
            return 0
        if operation == "describe-stacks" and state.get("deleting"):
            print("DELETE_FAILED")
            return 0
        if operation == "list-stack-resources" and state.get("deleting"):
            print("\t".join(state["held"]))
            return 0
        if operation == "delete-stack":
            assert options(words)["retain-resources"] == state["held"]
            state["held"] = []
            words = words[: words.index("--retain-resources")]
    if service == "cloudformation" and operation in ("create-stack", "update-stack"):
        words = with_given_values(words, stack, state)
    code = real([service, operation, *words]).returncode
    if service == "cloudformation" and code == 0:
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
