-- What dashboards read: views with stable names, so that the tables behind them may change. A reader is granted this
-- schema alone (deploy/grafana/role.sql) and sees no table, no person, no telephone number and nothing people typed.
-- A later migration that changes a column used here drops and makes the view again, under the same names.
CREATE SCHEMA grafana;

CREATE VIEW grafana.readings AS
SELECT o.observed_at AS time, o.received_at, d.code AS device, coalesce(nullif(d.name, ''), d.code) AS device_name,
       d.kind, a.code AS cell, m.code AS metric, coalesce(nullif(m.name, ''), m.code) AS metric_name,
       coalesce(nullif(m.name_en, ''), m.code) AS metric_name_en, m.unit, o.value, o.quality,
       o.quality & 52 = 0 AS trusted              -- neither clock ahead (4) nor out of range (16) nor spike (32)
FROM public.observations o
JOIN public.devices d ON d.id = o.device_id
JOIN public.metrics m ON m.id = o.metric_id
LEFT JOIN public.areas a ON a.id = d.cell_id;
COMMENT ON VIEW grafana.readings IS 'Every reading; ask for device, metric and a span of time.';

CREATE VIEW grafana.readings_hourly AS
SELECT r.bucket AS time, d.code AS device, coalesce(nullif(d.name, ''), d.code) AS device_name, d.kind,
       a.code AS cell, m.code AS metric, coalesce(nullif(m.name, ''), m.code) AS metric_name,
       coalesce(nullif(m.name_en, ''), m.code) AS metric_name_en, m.unit, r.readings, r.minimum, r.mean, r.maximum
FROM public.rollups r
JOIN public.devices d ON d.id = r.device_id
JOIN public.metrics m ON m.id = r.metric_id
LEFT JOIN public.areas a ON a.id = d.cell_id
WHERE r.step_s = 3600;
COMMENT ON VIEW grafana.readings_hourly IS 'By hour, of the days (UTC) before today.';

CREATE VIEW grafana.alarms AS
SELECT l.raised_at AS time, l.id, l.rule_id AS rule, l.category, coalesce(g.name, l.category) AS category_name,
       coalesce(nullif(g.name_en, ''), l.category) AS category_name_en, l.level, coalesce(l.class, g.class) AS class,
       d.code AS device, coalesce(nullif(d.name, ''), d.code) AS device_name, d.kind, a.code AS cell,
       coalesce(nullif(a.name, ''), a.code) AS cell_name, l.raised_at, l.cleared_at, l.cleared_at IS NULL AS standing,
       l.acknowledged_at, extract(epoch FROM coalesce(l.cleared_at, now()) - l.raised_at)::double precision AS stood_s,
       l.repeats, l.late, l.exercise, i.number AS incident
FROM public.alarms l
LEFT JOIN public.devices d ON d.id = l.device_id
LEFT JOIN public.areas a ON a.id = l.cell_id
LEFT JOIN public.categories g ON g.code = l.category
LEFT JOIN public.incidents i ON i.id = l.incident_id;
COMMENT ON VIEW grafana.alarms IS 'One row for each episode; exercises are in it, and marked.';

CREATE VIEW grafana.incidents AS
SELECT i.opened_at AS time, i.number, i.state, i.class, i.category, coalesce(g.name, i.category) AS category_name,
       coalesce(nullif(g.name_en, ''), i.category) AS category_name_en, a.code AS cell,
       coalesce(nullif(a.name, ''), a.code) AS cell_name, u.name AS unit_name,
       coalesce(nullif(u.name_en, ''), u.name) AS unit_name_en, i.source, i.opened_at, i.due_at, i.acknowledged_at,
       i.closed_at, i.closed_at IS NULL AS open,
       i.due_at IS NOT NULL AND coalesce(i.closed_at, now()) > i.due_at AS overdue, i.exercise
FROM public.incidents i
LEFT JOIN public.areas a ON a.id = i.area_id
LEFT JOIN public.units u ON u.id = i.unit_id
LEFT JOIN public.categories g ON g.code = i.category;
COMMENT ON VIEW grafana.incidents IS 'One row for each incident; exercises are in it, and marked.';

CREATE VIEW grafana.devices AS
SELECT d.code AS device, coalesce(nullif(d.name, ''), d.code) AS device_name, d.kind, k.name AS kind_name,
       coalesce(nullif(k.name_en, ''), k.code) AS kind_name_en, d.model, a.code AS cell,
       coalesce(nullif(a.name, ''), a.code) AS cell_name, d.longitude, d.latitude, d.owner_unit, d.maintainer_unit,
       d.registration,
       CASE WHEN d.service_until <= now() THEN 'in_service' ELSE d.service_state END AS service_state,
       p.last_heard_at, p.link IS DISTINCT FROM 'offline' AND p.last_heard_at IS NOT NULL
           AND now() - p.last_heard_at <= greatest(
               3 * make_interval(secs => coalesce(d.expected_interval_s, k.expected_interval_s, 1200)),
               interval '2 minutes') AS online,
       (SELECT count(*) FROM public.alarms l WHERE l.device_id = d.id AND l.cleared_at IS NULL) AS open_alarms
FROM public.devices d
JOIN public.device_kinds k ON k.code = d.kind
LEFT JOIN public.areas a ON a.id = d.cell_id
LEFT JOIN public.presence p ON p.device_id = d.id;
COMMENT ON VIEW grafana.devices IS 'The register with its live state, as it is now.';

CREATE VIEW grafana.metrics AS
SELECT m.code AS metric, coalesce(nullif(m.name, ''), m.code) AS metric_name,
       coalesce(nullif(m.name_en, ''), m.code) AS metric_name_en, m.unit
FROM public.metrics m;
COMMENT ON VIEW grafana.metrics IS 'What is measured, and in which unit.';
