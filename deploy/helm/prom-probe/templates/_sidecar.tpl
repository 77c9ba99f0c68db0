{{/*
The sidecar's container. ../../kustomize/component/sidecar.yaml says why each line is as it is.
*/}}
{{- define "prom-probe.container" -}}
- name: prom-probe
  image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
  {{- if .Values.sidecar.native }}
  restartPolicy: Always
  {{- end }}
  args: ["run"]
  env:
    {{- range $name, $value := .Values.sidecar.settings }}
    - name: {{ $name }}
      value: {{ $value | quote }}
    {{- end }}
    {{- if .Values.api.enabled }}
    - name: PROM_PROBE_API_LISTEN_ADDRESS
      value: ":19991"
    {{- end }}
    {{- if .Values.gpu.enabled }}
    - name: NVIDIA_VISIBLE_DEVICES
      value: all
    - name: NVIDIA_DRIVER_CAPABILITIES
      value: utility
    {{- end }}
  ports:
    - name: prom-probe
      containerPort: 19990
    {{- if .Values.api.enabled }}
    - name: probe-api
      containerPort: 19991
    {{- end }}
  startupProbe:
    httpGet:
      path: /-/ready
      port: prom-probe
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet:
      path: /-/healthy
      port: prom-probe
    periodSeconds: 10
    timeoutSeconds: 5
  resources:
    {{- if .Values.gpu.enabled }}
    {{- toYaml (mustMergeOverwrite (deepCopy .Values.sidecar.resources) (.Values.gpu.resources | default dict)) | nindent 4 }}
    {{- else }}
    {{- toYaml .Values.sidecar.resources | nindent 4 }}
    {{- end }}
  volumeMounts:
    - name: prom-probe-no-token
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
  securityContext:
    runAsNonRoot: true
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities:
      drop: ["ALL"]
    seccompProfile:
      type: RuntimeDefault
{{- end }}

{{/*
The volume that its container mounts.
*/}}
{{- define "prom-probe.volume" -}}
- name: prom-probe-no-token
  emptyDir:
    medium: Memory
{{- end }}

{{/*
The part of a pod's spec that adds the sidecar. A pod with init containers or volumes of its own takes `prom-probe.container`
and `prom-probe.volume` in those lists instead, and sets shareProcessNamespace itself.
*/}}
{{- define "prom-probe.sidecar" -}}
shareProcessNamespace: true
{{- if .Values.gpu.enabled }}
runtimeClassName: {{ .Values.gpu.runtimeClassName }}
{{- end }}
{{- if .Values.sidecar.native }}
initContainers:
  {{- include "prom-probe.container" . | nindent 2 }}
{{- end }}
volumes:
  {{- include "prom-probe.volume" . | nindent 2 }}
{{- end }}
