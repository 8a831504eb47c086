#!/bin/sh
# Whether an instance is ready and answers: RESPONSA_URL=… RESPONSA_API_KEY=… smoke.sh. It asks one question, whose answer may be a refusal.
set -eu
curl --fail --silent --show-error --max-time 10 "$RESPONSA_URL/health" >/dev/null
answer=$(curl --fail --silent --show-error --max-time 90 "$RESPONSA_URL/v1/turns:answer" \
    --header "authorization: Bearer $RESPONSA_API_KEY" --header 'content-type: application/json' --data '{"text": "Are you there?"}')
case $answer in
*'"answer":'* | *'"refused":'*) echo "$RESPONSA_URL answers." ;;
*) echo "$RESPONSA_URL does not answer: $answer" >&2 && exit 1 ;;
esac
