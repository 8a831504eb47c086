#!/bin/sh
# Blue-green: rollout.sh VERSION installs this version beside the live one, asks it a question, and then lets the service `responsa` lead to it. docs/containers.md,
# Blue and green, says what the cluster needs. IMAGE, RESPONSA_API_KEY and VALUES, a file of the chart's values, come from the environment.
set -eu
here=$(dirname "$0")
live=$(kubectl get service responsa --output 'jsonpath={.spec.selector.app\.kubernetes\.io/instance}' 2>/dev/null || true)
case $live in responsa-blue) next=responsa-green ;; *) next=responsa-blue ;; esac

# Only migrations that the live release tolerates (_pre_) may be missing; see docs/operations.md, Upgrading.
helm upgrade --install "$next" "$here/helm/responsa" ${VALUES:+--values "$VALUES"} \
    --set "image.repository=${IMAGE:-responsa}" --set-string "image.tag=$1" --wait --timeout 15m

kubectl port-forward "service/$next-envoy" 8080:8080 >/dev/null &
trap 'kill $!' EXIT
curl --silent --output /dev/null --retry 10 --retry-delay 1 --retry-connrefused http://127.0.0.1:8080/health
RESPONSA_URL=http://127.0.0.1:8080 sh "$here/smoke.sh"

kubectl apply --filename - <<YAML
apiVersion: v1
kind: Service
metadata: {name: responsa}
spec:
  selector: {app.kubernetes.io/name: responsa, app.kubernetes.io/instance: $next, app.kubernetes.io/component: envoy}
  ports: [{name: calls, port: 8080, targetPort: calls}]
YAML
if [ -n "${RESPONSA_URL:-}" ] && ! sh "$here/smoke.sh"; then
    [ -z "$live" ] || kubectl patch service responsa --patch "{\"spec\":{\"selector\":{\"app.kubernetes.io/instance\":\"$live\"}}}"
    exit 1
fi
# Streams of the old release end with `reconnect`, and clients continue them through the new one.
[ -z "$live" ] || helm uninstall "$live" --wait
echo "Version $1 is live as $next."
