#!/bin/bash
# Runs the commands of a buildspec as CodeBuild's agent runs those of version 0.2: all in one shell, a phase ends at its
# first command that fails, what is under `finally` runs all the same, and after the phase build comes post_build however
# build ended. The test appends the phases. The file STATUS gets a line for each command, and one for the end.

# Names that no command of a buildspec has.
agent_status=$STATUS
agent_failed=0
unset STATUS
cd "$CODEBUILD_SRC_DIR" || exit

agent_run() {
  local agent_began=$EPOCHREALTIME agent_code
  printf '\n[Container] Phase %s, running: %s\n' "$agent_phase" "$1"
  eval "$1" </dev/null
  agent_code=$?
  printf '%s\t%s\t%s\t%s\n' "$agent_phase" "$agent_code" \
    $(((${EPOCHREALTIME/./} - ${agent_began/./}) / 1000000)) "$1" >>"$agent_status"
  return "$agent_code"
}

# phase NAME COMMAND... finally COMMAND...
phase() {
  local agent_ok=0 agent_phase=$1
  shift
  while [[ $1 != finally ]]; do
    if ((agent_ok == 0)); then agent_run "$1" || agent_ok=1; fi
    shift
  done
  shift
  while (($# > 0)); do
    agent_run "$1" || agent_ok=1
    shift
  done
  ((agent_ok == 0)) || agent_failed=1
  case $agent_phase in
  install | pre_build) ((agent_ok == 0)) || end ;;
  esac
}

end() {
  printf 'end\t%s\n' "$agent_failed" >>"$agent_status"
  exit
}
