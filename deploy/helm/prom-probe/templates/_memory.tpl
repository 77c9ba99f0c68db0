{{/* The container's resources: requests and limits by the arithmetic of docs/tuning.md, and what the values say instead. */}}

{{/* MiB of a size such as 512KB, 32MB or 1GB. */}}
{{- define "prom-probe.mib" -}}
{{- $bytes := dict "" 1 "K" 1024 "M" 1048576 "G" 1073741824 "T" 1099511627776 -}}
{{- divf (mulf (regexFind "^[0-9]+" .) (get $bytes (regexFind "[KMGT]" .))) 1048576 }}
{{- end }}

{{/* MiB rounded up to a multiple of 32. */}}
{{- define "prom-probe.round" -}}
{{- mul 32 (ceil (divf . 32)) }}Mi
{{- end }}

{{- define "prom-probe.resources" -}}
{{- $settings := .Values.sidecar.settings -}}
{{/* Measured after range queries over an hour of data: 56 MiB. */}}
{{- $own := 56 -}}
{{- if .Values.gpu.enabled }}{{ $own = add $own 20 }}{{ end -}}
{{- if or .Values.remoteWrite.url (hasKey $settings "PROM_PROBE_REMOTE_WRITE_URL") }}{{ $own = add $own 12 }}{{ end -}}
{{- if .Values.tls.existingSecret }}{{ $own = add $own 4 }}{{ end -}}
{{/* What the settings permit on top, all at once. */}}
{{- $permitted := addf
      (include "prom-probe.mib" ($settings.PROM_PROBE_STORAGE_TSDB_RETENTION_SIZE | default "32MB"))
      (include "prom-probe.mib" ($settings.PROM_PROBE_STORAGE_TSDB_DECODE_CACHE_SIZE | default "8MB"))
      (include "prom-probe.mib" ($settings.PROM_PROBE_QUERY_MAX_MEMORY | default "64MB")) -}}
{{/* Request: and 6 MiB for five more hours of 300 series. Limit: and a fifth for fragments and the kernel's own pages. */}}
{{- $requests := dict "cpu" "20m" "memory" (include "prom-probe.round" (add $own 6)) -}}
{{/* No CPU limit: throttling would make gaps in what it samples. */}}
{{- $limits := dict "memory" (include "prom-probe.round" (mulf (addf $own $permitted) 1.2)) -}}
{{- toYaml (mergeOverwrite (dict "requests" $requests "limits" $limits) (deepCopy .Values.sidecar.resources)) }}
{{- end }}
