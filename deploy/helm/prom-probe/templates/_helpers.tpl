{{/* Names, labels, and what several templates ask. */}}

{{- define "prom-probe.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The release's name, with the chart's after it unless it is in there. */}}
{{- define "prom-probe.fullname" -}}
{{- $name := include "prom-probe.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Metadata of a resource: (dict "root" $ "suffix" "-api" "of" .Values.api), where `of` may have labels and annotations. */}}
{{- define "prom-probe.metadata" -}}
{{- $of := .of | default dict -}}
{{- $chart := dict "app.kubernetes.io/name" (include "prom-probe.name" .root)
                   "app.kubernetes.io/instance" .root.Release.Name
                   "app.kubernetes.io/version" .root.Chart.AppVersion
                   "app.kubernetes.io/managed-by" .root.Release.Service
                   "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) -}}
name: {{ include "prom-probe.fullname" .root }}{{ .suffix }}
labels:
  {{- toYaml (mergeOverwrite $chart .root.Values.commonLabels ($of.labels | default dict)) | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) ($of.annotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The label of a pod that has the sidecar; every selector of this chart goes by it. */}}
{{- define "prom-probe.podLabels" -}}
prom-probe/sidecar: {{ .Values.podLabel | quote }}
{{- end }}

{{- define "prom-probe.image" -}}
{{- with .Values.image -}}
{{- $name := empty .registry | ternary .repository (printf "%s/%s" .registry .repository) -}}
{{- empty .digest | ternary (printf "%s:%s" $name (.tag | default $.Chart.AppVersion)) (printf "%s@%s" $name .digest) }}
{{- end }}
{{- end }}

{{/* "yes" if a resource of the operator is to be made: (dict "root" $ "enabled" … "kind" …). auto: where the cluster has it. */}}
{{- define "prom-probe.wanted" -}}
{{- if eq (toString .enabled) "auto" }}
{{- .root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind) | ternary "yes" "" }}
{{- else }}
{{- .enabled | ternary "yes" "" }}
{{- end }}
{{- end }}

{{/* What PodMonitor and ServiceMonitor say alike: (dict "root" $ "monitor" .Values.podMonitor). */}}
{{- define "prom-probe.endpoint" -}}
- port: prom-probe
  path: /metrics
  interval: {{ .monitor.interval }}
  {{- with .monitor.scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  {{- if .root.Values.tls.existingSecret }}
  scheme: https
  tlsConfig:
    {{- toYaml .root.Values.tls.clientConfig | nindent 4 }}
  {{- end }}
  {{- range $field := list "relabelings" "metricRelabelings" }}
  {{- with index $.monitor $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}
