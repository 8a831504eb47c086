{{- define "responsa.labels" -}}
app.kubernetes.io/name: responsa
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "responsa.metadata" -}}
name: {{ .root.Release.Name }}-{{ .component }}
labels:
  {{- include "responsa.labels" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "responsa.image" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* What all pods share. */}}
{{- define "responsa.pod" -}}
serviceAccountName: {{ .root.Release.Name }}
automountServiceAccountToken: false
# Otherwise Kubernetes would set variables such as RESPONSA_ENVOY_PORT, which look like settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
terminationGracePeriodSeconds: {{ .root.Values.terminationGracePeriodSeconds }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "responsa.labels" . | nindent 8 }}
volumes:
  - {name: data, emptyDir: {}}
  - {name: tmp, emptyDir: {}}
  - {name: settings, configMap: {name: "{{ .root.Release.Name }}-settings"}}
  {{- if ne .component "envoy" }}
  - {name: secrets, secret: {secretName: {{ .root.Values.existingSecret | quote }}}}
  {{- end }}
{{- end }}

{{- define "responsa.mounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
- {name: settings, mountPath: /etc/responsa/settings, readOnly: true}
{{- end }}

{{/* What every process of `responsa` reads, apart from Envoy. */}}
{{- define "responsa.environment" -}}
- {name: RESPONSA_CONFIG, value: /etc/responsa/settings/responsa.toml}
- {name: RESPONSA_PORT, value: "8080"}
- {name: RESPONSA_LISTEN, value: 0.0.0.0}
- {name: RESPONSA_SECRETS_DIR, value: /etc/responsa/secrets}
- {name: RESPONSA_TOKENS__SECRET_FILE, value: /etc/responsa/secrets/token-secret}
{{- end }}
