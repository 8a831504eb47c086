#!/bin/sh
# Blue-green: rollout.sh VERSION installs this version beside the live one, asks it a question, and then lets the service `responsa` lead to it. Until
# everything has worked, each failure leads back to the live release and removes the new one. docs/deployment.md, Blue and green, says what the cluster needs. IMAGE,
# RESPONSA_API_KEY and VALUES, a file of the chart's values, come from the environment.
# With WORKERS=new, its own workers answer that question: a release needs this whose agents the live workers cannot run.
set -eu
here=$(dirname "$0")
version=$1
# If it cannot be asked, nothing happens: the live release must not be taken for missing.
live=$(kubectl get service responsa --ignore-not-found --output 'jsonpath={.spec.selector.app\.kubernetes\.io/instance}')
case $live in responsa-blue) next=responsa-green ;; *) next=responsa-blue ;; esac
forward='' switched='' complete='' said=$(mktemp)

undo() {
    code=$?
    trap '' INT TERM
    trap - EXIT
    [ -z "$forward" ] || kill "$forward" 2>/dev/null || true
    rm -f "$said"
    [ -z "$complete" ] || exit "$code"
    if [ -n "$switched" ] && [ -n "$live" ]; then
        kubectl patch service responsa --patch "{\"spec\":{\"selector\":{\"app.kubernetes.io/instance\":\"$live\"}}}" ||
            echo "The service responsa still leads to $next: let it lead to $live." >&2
    elif [ -n "$switched" ]; then
        kubectl delete service responsa --ignore-not-found || true
    fi
    helm uninstall "$next" --ignore-not-found --wait || echo "The release $next is still there: remove it." >&2
    echo "Version $version is not live${live:+; $live answers as before}." >&2
    exit "$code"
}
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Only migrations that the live release tolerates (_pre_) may be missing; see docs/backup.md.
install() {
    helm upgrade --install "$next" "$here/helm/responsa" ${VALUES:+--values "$VALUES"} \
        --set "image.repository=${IMAGE:-responsa}" --set-string "image.tag=$version" --wait --timeout 15m "$@"
}

if [ -n "$live" ] && [ -z "${WORKERS:-}" ]; then
    # The live release's workers answer meanwhile: those of a bad release would take its turns.
    install --set worker.replicas=0 --set worker.autoscaling.enabled=false --set worker.keda.enabled=false
else
    install
fi
# At a free port, so that nothing else on this machine can answer for the new release.
kubectl port-forward "service/$next-envoy" :8080 >"$said" &
forward=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$said")
    if [ -n "$port" ] || ! kill -0 "$forward" 2>/dev/null; then break; fi
    sleep 1
done
[ -n "$port" ] || exit 1
RESPONSA_URL=http://127.0.0.1:$port sh "$here/smoke.sh"

switched=yes
kubectl apply --filename - <<YAML
apiVersion: v1
kind: Service
metadata: {name: responsa}
spec:
  selector: {app.kubernetes.io/name: responsa, app.kubernetes.io/instance: $next, app.kubernetes.io/component: envoy}
  ports: [{name: calls, port: 8080, targetPort: calls}]
YAML
[ -z "$live" ] || install
RESPONSA_URL=${RESPONSA_URL:-http://127.0.0.1:$port} sh "$here/smoke.sh"
complete=yes
echo "Version $version is live as $next."
# Streams of the old release end with `reconnect`, and clients continue them through the new one.
[ -z "$live" ] || helm uninstall "$live" --wait
