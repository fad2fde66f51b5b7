#!/bin/sh
# Makes what comes beside the programs, from the commands themselves: extras.sh PROGRAM FOLDER
# PROGRAM is a footbridge that runs on this machine.
set -eu
program=$1 folder=$2
rm -rf "$folder"
mkdir -p "$folder/man"
"$program" man-pages "$folder/man"
gzip -9n "$folder"/man/*
"$program" completion bash >"$folder/footbridge.bash"
"$program" completion zsh >"$folder/_footbridge"
"$program" completion fish >"$folder/footbridge.fish"
