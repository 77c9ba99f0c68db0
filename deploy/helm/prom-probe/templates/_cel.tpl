{{/*
A value as a CEL expression: (dict "type" "Object.spec.volumes" "value" …). Kubernetes wants a map as an object of the type
that its place has, and a map whose keys are free as a plain map. {"$cel": "…"} is an expression already.
*/}}
{{- define "prom-probe.cel" -}}
{{- $type := .type -}}
{{- $parts := list -}}
{{- if and (kindIs "map" .value) (hasKey .value "$cel") -}}
{{- get .value "$cel" }}
{{- else if and (kindIs "map" .value) (has (regexFind "[^.]+$" $type) (list "limits" "requests")) -}}
{{- toJson .value }}
{{- else if kindIs "map" .value -}}
{{- range $key, $value := .value }}
{{- $parts = append $parts (printf "%s: %s" $key (include "prom-probe.cel" (dict "type" (printf "%s.%s" $type $key) "value" $value))) }}
{{- end -}}
{{- printf "%s{\n%s\n}" $type (join ",\n" $parts | indent 2) }}
{{- else if kindIs "slice" .value -}}
{{- range .value }}
{{- $parts = append $parts (include "prom-probe.cel" (dict "type" $type "value" .)) }}
{{- end -}}
{{- printf "[%s]" (join ", " $parts) }}
{{- else -}}
{{- toJson .value }}
{{- end -}}
{{- end }}
