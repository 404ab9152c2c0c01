{{- /* What every pod of ours has: no rights, no token, a root nobody writes to. */ -}}
{{- define "city.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "city.containerSecurity" -}}
image: {{ include "city.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* Call with (list . "component"): its pods in all zones and on all machines as evenly as can be. */ -}}
{{- define "city.spread" -}}
{{- $root := index . 0 -}}
topologySpreadConstraints:
{{- $component := index . 1 }}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        app.kubernetes.io/part-of: {{ $root.Release.Name }}
        app.kubernetes.io/component: {{ $component }}
{{- end }}
{{- end }}

{{- define "city.given" -}}
{{- range $name, $value := .Values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "city.settings" -}}
{{- include "city.given" . }}
- name: CITY_DATABASE_PASSWORD_FILE
  value: /run/secrets/database/password
{{- end }}

{{- /* Call with (list . "name of a Secret"): the name of a broker's account for the addresses that follow in the list. */ -}}
{{- define "city.brokerAccount" -}}
{{- $secret := index . 1 -}}
- name: BROKER_USER
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: username}}
{{- end }}

{{- define "city.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: database-password, mountPath: /run/secrets/database, readOnly: true}
{{- end }}

{{- define "city.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 256Mi}
- name: database-password
  secret:
    secretName: {{ .Values.secrets.serving }}
    items: [{key: password, path: password}]
    defaultMode: 0440
{{- end }}

{{- /* And its password, as a file that the setting CITY_…_PASSWORD_FILE names; call with the name of the Secret. */ -}}
{{- define "city.brokerVolume" -}}
- name: broker-password
  secret: {secretName: {{ . }}, items: [{key: password, path: password}], defaultMode: 0440}
{{- end }}
