{{- define "city.labels" -}}
app.kubernetes.io/part-of: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "city.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "city.log" -}}
{{ .Release.Name }}-log
{{- end }}

{{- define "city.database" -}}
{{ .Release.Name }}-database
{{- end }}

{{- define "city.databaseSecret" -}}
{{- if .Values.database.create -}}
{{ include "city.database" . }}-app
{{- else -}}
{{ required "database.secret: name the Secret that holds the password of user city under the key password" .Values.database.secret }}
{{- end -}}
{{- end }}

{{- define "city.databaseHost" -}}
{{- if .Values.database.create -}}
{{ include "city.database" . }}-rw:5432
{{- else -}}
{{ required "database.host: name the host of the database, or let the chart create one" .Values.database.host }}
{{- end -}}
{{- end }}

{{- /* Whoever serves reads and writes rows; the schema is its owner's, whom the migration alone signs in as. */ -}}
{{- define "city.databaseUrl" -}}
postgresql://city_serving@{{ include "city.databaseHost" . }}/city
{{- end }}

{{- define "city.ownerUrl" -}}
postgresql://city@{{ include "city.databaseHost" . }}/city
{{- end }}

{{- define "city.pooledUrl" -}}
{{- if and .Values.database.create .Values.database.pooler.enabled -}}
postgresql://city_serving@{{ include "city.database" . }}-pooler:5432/city
{{- else -}}
{{ include "city.databaseUrl" . }}
{{- end -}}
{{- end }}

{{- define "city.logHost" -}}
{{- if .Values.log.create -}}
{{ include "city.log" . }}
{{- else -}}
{{ first (required "log.hosts: name the nodes of the log, or let the chart create them" .Values.log.hosts) }}
{{- end -}}
{{- end }}

{{- define "city.adminSecret" -}}
{{- if .Values.log.create -}}
{{ include "city.log" . }}-default-user
{{- else -}}
{{ required "log.adminSecret: name the Secret of the log's administrator" .Values.log.adminSecret }}
{{- end -}}
{{- end }}

{{- /* Every node by its own name, so that a worker finds another one when its node is gone. */ -}}
{{- define "city.streamUrl" -}}
{{- $user := "rabbitmq-stream://$(BROKER_USER)@" -}}
{{- $urls := list -}}
{{- if .Values.log.create -}}
{{- range $node := until (int .Values.log.nodes) -}}
{{- $name := include "city.log" $ -}}
{{- $urls = append $urls (printf "%s%s-server-%d.%s-nodes.%s:5552" $user $name $node $name $.Release.Namespace) -}}
{{- end -}}
{{- else -}}
{{- range .Values.log.hosts -}}
{{- $urls = append $urls (printf "%s%s:5552" $user .) -}}
{{- end -}}
{{- end -}}
{{ join "," $urls }}
{{- end }}
