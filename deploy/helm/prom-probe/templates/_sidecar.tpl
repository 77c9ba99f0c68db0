{{/* The sidecar: its container and volumes. ../../kustomize/component/sidecar.yaml says why each line is as it is. */}}

{{- define "prom-probe.container" -}}
{{- $scheme := empty .Values.tls.existingSecret | ternary "" "HTTPS" -}}
- name: prom-probe
  image: {{ include "prom-probe.image" . }}
  {{- with .Values.image.pullPolicy }}
  imagePullPolicy: {{ . }}
  {{- end }}
  {{- if .Values.sidecar.native }}
  restartPolicy: Always
  {{- end }}
  args:
    {{- toYaml (concat (list "run") .Values.sidecar.extraArgs) | nindent 4 }}
  env:
    {{- range $name, $value := include "prom-probe.settings" . | fromYaml }}
    - name: {{ $name }}
      value: {{ $value | quote }}
    {{- end }}
    {{- with .Values.sidecar.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.sidecar.extraEnvFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: prom-probe
      containerPort: 19990
    {{- if .Values.api.enabled }}
    - name: probe-api
      containerPort: 19991
    {{- end }}
  {{- if .Values.sidecar.holdApplication }}
  startupProbe:
    httpGet:
      path: /-/ready
      port: prom-probe
      {{- with $scheme }}
      scheme: {{ . }}
      {{- end }}
    periodSeconds: 1
    failureThreshold: 60
  {{- end }}
  livenessProbe:
    httpGet:
      path: /-/healthy
      port: prom-probe
      {{- with $scheme }}
      scheme: {{ . }}
      {{- end }}
    periodSeconds: 10
    timeoutSeconds: 5
  resources:
    {{- include "prom-probe.resources" . | nindent 4 }}
  volumeMounts:
    - name: prom-probe-no-token
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
    {{- if .Values.tls.existingSecret }}
    - name: prom-probe-tls
      mountPath: /etc/prom-probe
      readOnly: true
    {{- end }}
    {{- with .Values.sidecar.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  securityContext:
    {{- toYaml .Values.sidecar.securityContext | nindent 4 }}
{{- end }}

{{/* The container's PROM_PROBE_* variables, those that other values stand for among them. */}}
{{- define "prom-probe.settings" -}}
{{- $settings := deepCopy .Values.sidecar.settings -}}
{{- if .Values.api.enabled }}{{ $_ := set $settings "PROM_PROBE_API_LISTEN_ADDRESS" ":19991" }}{{ end -}}
{{- with .Values.remoteWrite.url }}{{ $_ := set $settings "PROM_PROBE_REMOTE_WRITE_URL" . }}{{ end -}}
{{- if .Values.tls.existingSecret }}{{ $_ := set $settings "PROM_PROBE_WEB_CONFIG_FILE" "/etc/prom-probe/web.yml" }}{{ end -}}
{{- if .Values.gpu.enabled }}
{{- $_ := set $settings "NVIDIA_VISIBLE_DEVICES" "all" }}
{{- $_ := set $settings "NVIDIA_DRIVER_CAPABILITIES" "utility" }}
{{- end -}}
{{- toYaml $settings }}
{{- end }}

{{/* The volumes that its container mounts. */}}
{{- define "prom-probe.volumes" -}}
- name: prom-probe-no-token
  emptyDir:
    medium: Memory
{{- with .Values.tls.existingSecret }}
- name: prom-probe-tls
  projected:
    sources:
      - secret:
          name: {{ . }}
      - configMap:
          name: {{ include "prom-probe.fullname" $ }}-web
{{- end }}
{{- with .Values.sidecar.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
The part of a pod's spec that adds the sidecar. A pod with init containers, volumes or pull secrets of its own takes
`prom-probe.container` and `prom-probe.volumes` in those lists instead, and sets shareProcessNamespace itself.
*/}}
{{- define "prom-probe.sidecar" -}}
shareProcessNamespace: true
{{- if .Values.gpu.enabled }}
runtimeClassName: {{ .Values.gpu.runtimeClassName }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.sidecar.native }}
initContainers:
  {{- include "prom-probe.container" . | nindent 2 }}
{{- end }}
volumes:
  {{- include "prom-probe.volumes" . | nindent 2 }}
{{- end }}
