/* extension/contratos--0.9--1.0.sql */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION contratos UPDATE TO '1.0'" to load this file. \quit

-- As in the script that creates the extension: see there.
SET LOCAL search_path = pg_catalog, pg_temp;

-- In the order in which a load comes to them, or the two could deadlock.
LOCK TABLE @extschema@.contratos_sources, @extschema@.contratos_runs, @extschema@.contratos_rejects IN ACCESS EXCLUSIVE MODE;

-- What comes below stands in contratos--1.0.sql as well; test/t/220_update_from.pl
-- compares the two, object by object.

-- ---------------------------------------------------------------------------
-- A page to look at: contratos_page() gives one HTML document of how a source stands.
-- It runs with the rights of whoever calls it, who may read the views above; what it
-- reads besides comes from views of numbers.  Error messages and names are others'
-- text: all that is not written here goes through _contratos_html().
-- ---------------------------------------------------------------------------

-- The name itself, if there is a source of that name.  Errors: 22004 source is null;
-- 42704 there is none, with the names that there are.
CREATE FUNCTION @extschema@._contratos_source(source text) RETURNS text
AS 'MODULE_PATHNAME', 'contratos_known_source'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@._contratos_source(text) IS
'internal: for contratos_page: the name of a source, or the error that there is none';
REVOKE ALL ON FUNCTION @extschema@._contratos_source(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@._contratos_source(text) TO pg_monitor;

CREATE VIEW @extschema@._contratos_page_sources AS
SELECT s.name AS source, s.enabled, s.timestamp_column IS NULL AS is_snapshot, s.start_date
FROM @extschema@.contratos_sources s;
COMMENT ON VIEW @extschema@._contratos_page_sources IS 'internal: for contratos_page: what it shows of contratos_sources';
COMMENT ON COLUMN @extschema@._contratos_page_sources.source IS 'name in contratos_sources';
COMMENT ON COLUMN @extschema@._contratos_page_sources.enabled IS 'whether the worker loads it';
COMMENT ON COLUMN @extschema@._contratos_page_sources.is_snapshot IS 'whether it has no days';
COMMENT ON COLUMN @extschema@._contratos_page_sources.start_date IS 'the first day that the worker loads';

CREATE VIEW @extschema@._contratos_page_months AS
SELECT r.source, date_trunc('month', coalesce(r.finished_at, r.started_at) AT TIME ZONE 'UTC')::date AS month,
	sum(r.bytes_billed)::bigint AS bytes_billed
FROM @extschema@.contratos_runs r
WHERE coalesce(r.finished_at, r.started_at) IS NOT NULL AND r.bytes_billed IS NOT NULL
GROUP BY 1, 2;
COMMENT ON VIEW @extschema@._contratos_page_months IS 'internal: for contratos_page: what the ledger knows of the cost of a month';
COMMENT ON COLUMN @extschema@._contratos_page_months.source IS 'as in contratos_runs';
COMMENT ON COLUMN @extschema@._contratos_page_months.month IS 'first day of the UTC month in which loads, rechecks and comparisons ended';
COMMENT ON COLUMN @extschema@._contratos_page_months.bytes_billed IS 'what they were billed, failed ones included';
GRANT SELECT ON @extschema@._contratos_page_sources, @extschema@._contratos_page_months TO pg_monitor;

-- Text for HTML, between tags and in attributes with either kind of quotes.  Control
-- characters are no characters of HTML.
CREATE FUNCTION @extschema@._contratos_html(text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT regexp_replace(
		replace(replace(replace(replace(replace(text, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;'),
		'[\x01-\x08\x0B\x0C\x0E-\x1F\x7F]', '&#xFFFD;', 'g')
$$;
COMMENT ON FUNCTION @extschema@._contratos_html(text) IS 'internal: for contratos_page: a text escaped for HTML';

CREATE FUNCTION @extschema@._contratos_page_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_time(timestamptz) IS 'internal: for contratos_page: a time in UTC';

CREATE FUNCTION @extschema@._contratos_page_count(number bigint) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT to_char(number, 'FM9,999,999,999,999,999,990')
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_count(bigint) IS 'internal: for contratos_page: a number with commas';

-- BigQuery's units: a MB has 1024 kB.
CREATE FUNCTION @extschema@._contratos_page_bytes(bytes bigint) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN bytes >= 1099511627776 THEN to_char(bytes / 1099511627776.0, 'FM999,990.0') || ' TB'
		WHEN bytes >= 1073741824 THEN to_char(bytes / 1073741824.0, 'FM999,990.0') || ' GB'
		ELSE to_char(bytes / 1048576.0, 'FM999,990') || ' MB' END
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_bytes(bigint) IS 'internal: for contratos_page: a number of bytes for people';

-- The states in the order of the legend, and what they mean in few words.
CREATE VIEW @extschema@._contratos_page_states AS
SELECT s.state, s.rank, s.meaning
FROM (VALUES
	('confirmed', 1, 'equal to BigQuery a day after its end'),
	('provisional', 2, 'loaded; may still change at BigQuery'),
	('accepted', 3, 'to stay as it is'),
	('running', 4, 'being loaded'),
	('queued', 5, 'left to the worker'),
	('waiting', 6, 'for BigQuery or a lock, or to be tried again'),
	('missing', 7, 'not tried yet'),
	('canceled', 8, 'taken off before it was loaded'),
	('refused', 9, 'empty or shrunk; rows loaded before still stand'),
	('differs', 10, 'not equal to BigQuery, and loading does not cure it'),
	('failed', 11, 'its last load failed')) AS s (state, rank, meaning);
COMMENT ON VIEW @extschema@._contratos_page_states IS 'internal: for contratos_page: the states of a day';
COMMENT ON COLUMN @extschema@._contratos_page_states.state IS 'as in contratos_days';
COMMENT ON COLUMN @extschema@._contratos_page_states.rank IS 'the order in which the page has them';
COMMENT ON COLUMN @extschema@._contratos_page_states.meaning IS 'in few words';
GRANT SELECT ON @extschema@._contratos_page_states TO pg_monitor;

-- Text is ink, soft or bad, on ground or panel: each of these pairs has a contrast of 4.5
-- or more in both schemes (test/t/221_page.pl).
CREATE FUNCTION @extschema@._contratos_page_style() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT $css$
:root{color-scheme:light dark;--ground:#fdfdfc;--panel:#f3f5f2;--ink:#1b2420;--soft:#55615b;--bad:#a8261c;--line:#d5dbd7;
--done:#2f7d5b;--busy:#2b6cb0;--wait:#8a6100;--alarm:#c23a2e;--odd:#7a4bb3;--idle:#7d8983;--bar:#6f9c88}
@media (prefers-color-scheme:dark){:root{--ground:#131816;--panel:#1c2320;--ink:#e4eae6;--soft:#9fada6;--bad:#ff9a8d;--line:#303a35;
--done:#4fae86;--busy:#6aa9e9;--wait:#d9a63a;--alarm:#f0695c;--odd:#b690ea;--idle:#7f8d86;--bar:#4d7f6a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:992px;margin:0 auto;padding:28px 16px 40px}
h1,h2,h3,p,figure,ul,dl{margin:0;padding:0}
h1{font-size:26px;line-height:1.2;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:15px;font-weight:650;margin:34px 0 10px}
h3{font-size:14px;font-weight:650;display:inline}
a{color:inherit}
svg{display:block}
bdi{overflow-wrap:anywhere}
.soft{color:var(--soft)}
.hidden{position:absolute;width:0;height:0}
.mark{width:16px;height:16px;flex:none}
.kind{color:var(--soft);font-size:13px}
.verdict{margin-top:10px;max-width:56em}
.verdict strong{font-weight:650}
.standing{display:inline-flex;align-items:center;gap:6px;font-size:13px;font-weight:650}
.standing.alarm{color:var(--bad)}
.top{display:flex;flex-wrap:wrap;align-items:baseline;justify-content:space-between;gap:2px 24px}
.year+.year{margin-top:22px}
.year .soft{font-size:13px}
summary{cursor:pointer}
.months{display:grid;grid-template-columns:repeat(auto-fill,minmax(128px,1fr));gap:16px 28px;margin-top:10px}
.month figcaption{font-size:13px;color:var(--soft);margin-bottom:5px}
.month svg{width:100%;height:auto;max-width:170px;overflow:visible}
.legend{list-style:none;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr));gap:4px 28px;margin-top:20px;font-size:13px}
.legend li{display:flex;gap:8px;align-items:flex-start}
.legend .mark{margin-top:2px}
.problems{list-style:none;display:grid;gap:10px}
.problems li{background:var(--panel);border-left:3px solid var(--alarm);border-radius:3px;padding:10px 14px}
.problems b{color:var(--bad);font-weight:650}
.problems p{margin-top:2px;overflow-wrap:anywhere}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
.run{margin-bottom:12px}
.run svg{width:100%;height:6px;margin-top:6px}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:0 40px}
.two section{display:flex;flex-direction:column}
.bars{width:100%;height:112px;flex:1 0 112px;max-height:240px;border-bottom:1px solid var(--line)}
.ends{display:flex;justify-content:space-between;font-size:13px;color:var(--soft);margin-top:4px}
.note{font-size:13px;color:var(--soft);margin-top:8px}
table{width:100%;border-collapse:collapse;font-size:13px;line-height:1.4}
caption{text-align:left;color:var(--soft);padding-bottom:6px}
th,td{text-align:left;vertical-align:baseline;padding:5px 10px 5px 0;border-top:1px solid var(--line);font-weight:400}
thead th,thead td{color:var(--soft);border-top:0}
th.n,td.n{text-align:right}
tbody th,.keep{white-space:nowrap}
.days .n{padding-right:28px}
th:last-child,td:last-child{padding-right:0}
td .mark{display:inline-block;vertical-align:-3px;margin-right:6px;width:14px;height:14px}
.said td{border-top:0;padding-top:0;color:var(--soft);overflow-wrap:anywhere}
.cost td svg{width:100%;height:9px}
.cost td.fill{width:45%}
footer{margin-top:36px;padding-top:10px;border-top:1px solid var(--line);font-size:13px;color:var(--soft)}
.fill-done{fill:var(--done)}.fill-alarm{fill:var(--alarm)}.fill-wait{fill:var(--wait)}.fill-odd{fill:var(--odd)}.fill-busy{fill:var(--busy)}
.fill-bar{fill:var(--bar)}.fill-line{fill:var(--line)}
.edge-done,.edge-busy,.edge-wait,.edge-idle,.cut,.none{fill:none;stroke-width:1.6}
.edge-done{stroke:var(--done)}.edge-busy{stroke:var(--busy)}.edge-wait{stroke:var(--wait)}.edge-idle{stroke:var(--idle)}
.cut{stroke:var(--ground);stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.none{stroke:var(--line);stroke-width:3;stroke-linecap:round}
@media (max-width:480px){main{padding-top:18px}.months{gap:14px 24px}.days .n{padding-right:12px}.tries{display:none}}
@media print{.problems li,tr,.month{break-inside:avoid}}
$css$
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_style() IS 'internal: for contratos_page: its style sheet';

-- A mark for each state: they differ in shape, and not only in color.
CREATE FUNCTION @extschema@._contratos_page_marks() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT $svg$<svg class="hidden" aria-hidden="true"><defs>
<symbol id="m-confirmed" viewBox="0 0 16 16"><rect class="fill-done" width="16" height="16" rx="3"/></symbol>
<symbol id="m-provisional" viewBox="0 0 16 16"><rect class="edge-done" x="1" y="1" width="14" height="14" rx="2.5"/><path class="fill-done" d="M14.5 2.5v10.2q0 1.8-1.8 1.8h-10.2z"/></symbol>
<symbol id="m-accepted" viewBox="0 0 16 16"><rect class="fill-done" width="16" height="16" rx="3"/><path class="cut" d="M4 8.4l2.8 2.8 5.2-6"/></symbol>
<symbol id="m-running" viewBox="0 0 16 16"><rect class="edge-busy" x="1" y="1" width="14" height="14" rx="2.5"/><path class="fill-busy" d="M6 4.2v7.6l6-3.8z"/></symbol>
<symbol id="m-queued" viewBox="0 0 16 16"><rect class="edge-busy" x="1" y="1" width="14" height="14" rx="2.5"/><circle class="fill-busy" cx="8" cy="8" r="2.6"/></symbol>
<symbol id="m-waiting" viewBox="0 0 16 16"><rect class="edge-wait" x="1" y="1" width="14" height="14" rx="2.5"/><path class="fill-wait" d="M4.4 3.8h7.2l-2.9 4.2 2.9 4.2h-7.2l2.9-4.2z"/></symbol>
<symbol id="m-missing" viewBox="0 0 16 16"><rect class="edge-idle" x="1" y="1" width="14" height="14" rx="2.5" stroke-dasharray="2.5 2.4"/></symbol>
<symbol id="m-canceled" viewBox="0 0 16 16"><rect class="edge-idle" x="1" y="1" width="14" height="14" rx="2.5"/><path class="edge-idle" d="M3.5 12.5l9-9"/></symbol>
<symbol id="m-refused" viewBox="0 0 16 16"><rect class="fill-wait" width="16" height="16" rx="3"/><path class="cut" d="M4 8h8"/></symbol>
<symbol id="m-differs" viewBox="0 0 16 16"><rect class="fill-odd" width="16" height="16" rx="3"/><path class="cut" d="M4 6h8M4 10h8M10 3.4l-4 9.2"/></symbol>
<symbol id="m-failed" viewBox="0 0 16 16"><rect class="fill-alarm" width="16" height="16" rx="3"/><path class="cut" d="M4.6 4.6l6.8 6.8M11.4 4.6l-6.8 6.8"/></symbol>
</defs></svg>
$svg$
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_marks() IS 'internal: for contratos_page: the shapes of the states';

CREATE FUNCTION @extschema@._contratos_page_mark(state text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('<svg class="mark" viewBox="0 0 16 16" aria-hidden="true"><use href="#m-%s"/></svg>', @extschema@._contratos_html(state))
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_mark(text) IS 'internal: for contratos_page: the shape of a state';

-- Of the newest 3,660 days: a year a section, older ones folded; a month an image, whose
-- columns are Monday to Sunday; a day a mark with a tooltip.
CREATE FUNCTION @extschema@._contratos_page_calendar(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH shown AS (
		SELECT d.day, date_trunc('month', d.day::timestamp)::date AS month, extract(year FROM d.day)::integer AS year, k.state,
			concat_ws(E'\n',
				concat(to_char(d.day, 'YYYY-MM-DD: '), k.state),
				concat(CASE WHEN d.rows IS NULL THEN 'no rows loaded' ELSE to_char(d.rows, 'FM"rows "9,999,999,999,999,999,990') END, ', attempts ', d.attempts),
				coalesce(to_char(d.checked_at AT TIME ZONE 'UTC', '"last check "YYYY-MM-DD HH24:MI" UTC"'), 'never checked'),
				@extschema@._contratos_html(left(CASE WHEN d.state = 'differs' THEN d.check_error ELSE d.error END, 200))) AS tip
		FROM @extschema@.contratos_days d JOIN @extschema@._contratos_page_states k ON k.state = d.state
		WHERE d.source = _contratos_page_calendar.source AND d.day > @extschema@.contratos_yesterday() - 3660
	), counts AS (
		SELECT s.year, s.month, string_agg(concat(s.days, ' ', s.state), ', ' ORDER BY k.rank) AS states
		FROM (SELECT year, month, state, count(*) AS days FROM shown GROUP BY GROUPING SETS ((year, state), (year, month, state))) s
		JOIN @extschema@._contratos_page_states k ON k.state = s.state
		GROUP BY s.year, s.month
	), cells AS (
		SELECT m.month, m.month + i AS day, s.state, s.tip,
			20 * (extract(isodow FROM m.month + i)::integer - 1) AS x,
			20 * ((i + extract(isodow FROM m.month)::integer - 1) / 7) AS y
		FROM (SELECT DISTINCT month FROM shown) m
		CROSS JOIN LATERAL generate_series(0, (m.month + interval '1 month')::date - m.month - 1) i
		LEFT JOIN shown s ON s.day = m.month + i
	), months AS (
		SELECT c.month, extract(year FROM c.month)::integer AS year,
			format('<figure class="month"><figcaption>%s</figcaption><svg viewBox="0 0 136 %s" role="img" aria-label="%s: %s">%s%s</svg></figure>',
				to_char(c.month, 'FMMonth'), max(c.y) + 16, to_char(c.month, 'FMMonth YYYY'), max(n.states),
				'<path class="none" d="' || string_agg(format('M%s %sh0', c.x + 8, c.y + 8), '') FILTER (WHERE c.state IS NULL) || '"/>',
				string_agg(format(E'\n<use href="#m-%s" x="%s" y="%s" width="16" height="16"><title>%s</title></use>',
					c.state, c.x, c.y, c.tip), '' ORDER BY c.day)
					FILTER (WHERE c.state IS NOT NULL)) AS html
		FROM cells c JOIN counts n ON n.month = c.month
		GROUP BY c.month
	), years AS (
		SELECT m.year, format('<h3>%s</h3> <span class="soft">%s</span>', m.year, CASE WHEN count(*) OVER () > 1 THEN max(n.states) END) AS title,
			format(E'<div class="months">%s</div>', string_agg(m.html, E'\n' ORDER BY m.month)) AS html,
			m.year >= extract(year FROM @extschema@.contratos_yesterday()) - 1 AS is_open
		FROM months m JOIN counts n ON n.year = m.year AND n.month IS NULL
		GROUP BY m.year
	)
	SELECT concat(
		(SELECT string_agg(CASE WHEN y.is_open THEN format('<section class="year">%s%s</section>', y.title, y.html)
				ELSE format('<details class="year"><summary>%s</summary>%s</details>', y.title, y.html) END, E'\n' ORDER BY y.year DESC)
			FROM years y),
		(SELECT format('<p class="note">%s earlier days are not shown.</p>', @extschema@._contratos_page_count(count(*)))
			FROM @extschema@.contratos_days d
			WHERE d.source = _contratos_page_calendar.source AND d.day <= @extschema@.contratos_yesterday() - 3660
			HAVING count(*) > 0),
		(SELECT format(E'\n<ul class="legend">%s</ul>', string_agg(format('<li>%s<span>%s <span class="soft">%s</span></span></li>',
				@extschema@._contratos_page_mark(k.state), k.state, k.meaning), E'\n' ORDER BY k.rank))
			FROM @extschema@._contratos_page_states k WHERE k.state IN (SELECT s.state FROM shown s)
			HAVING count(*) > 0))
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_calendar(text) IS 'internal: for contratos_page: the days of a source, and the legend';

-- What is wrong with a source or the worker: how many problems, whether no worker runs,
-- and all of them with what to do.
CREATE FUNCTION @extschema@._contratos_page_problems(source text, OUT problems bigint, OUT is_alone boolean, OUT html text)
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(*), coalesce(bool_or(p.problem = 'worker'), false),
		CASE WHEN count(*) = 0 THEN
			CASE WHEN EXISTS (SELECT FROM @extschema@._contratos_page_sources s WHERE s.source = _contratos_page_problems.source AND NOT s.enabled)
				THEN '<p>The source is disabled: nobody looks for problems.</p>' ELSE '<p>Nothing is wrong.</p>' END
		ELSE format('<ul class="problems">%s</ul>', string_agg(
			format('<li><b>%s</b> <bdi>%s</bdi><p>%s</p></li>',
				@extschema@._contratos_html(p.problem),
				@extschema@._contratos_html(replace(p.found, E'\n', '')),
				format(CASE WHEN p.hint LIKE '%;' THEN '<code>%s</code>' ELSE '%s' END, @extschema@._contratos_html(replace(p.hint, E'\n', '')))), E'\n')) END
	FROM @extschema@.contratos_problems p
	WHERE p.source = _contratos_page_problems.source OR p.source IS NULL
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_problems(text) IS 'internal: for contratos_page: what is wrong, and what to do';

-- How a source stands: a few words, and one sentence.  problems: how many there are;
-- is_alone: no worker runs.
CREATE FUNCTION @extschema@._contratos_page_verdict(source text, problems bigint, is_alone boolean) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH days AS (
		-- a day that is loaded again has the rows of its last load until then
		SELECT d.day, d.state, d.state IN ('confirmed', 'provisional', 'accepted')
			OR d.state IN ('queued', 'running', 'waiting') AND d.last_loaded IS NOT NULL AS is_here
		FROM @extschema@.contratos_days d WHERE d.source = _contratos_page_verdict.source
	), counts AS (
		SELECT count(*) AS days, count(*) FILTER (WHERE is_here) AS here, max(day) FILTER (WHERE is_here) AS newest,
			(SELECT string_agg(concat(o.days, '&#xA0;', k.state), ', ' ORDER BY k.rank DESC)
				FROM (SELECT state, count(*) AS days FROM days WHERE NOT is_here GROUP BY state) o
				JOIN @extschema@._contratos_page_states k ON k.state = o.state) AS others
		FROM days
	), said AS (
		SELECT
			CASE WHEN NOT s.enabled THEN 'canceled' WHEN problems > 0 THEN 'failed' WHEN c.days = 0 OR c.here < c.days THEN 'waiting' ELSE 'accepted' END AS mark,
			CASE WHEN NOT s.enabled THEN 'Disabled' WHEN problems = 1 THEN '1 problem' WHEN problems > 1 THEN concat(problems, ' problems')
				WHEN c.days = 0 THEN 'No days yet' WHEN c.here < c.days THEN 'Not complete' ELSE 'All is well' END AS standing,
			CASE WHEN s.is_snapshot AND c.newest IS NULL THEN 'The table has not been loaded yet'
				WHEN s.is_snapshot THEN format('The whole table of %s is here', to_char(c.newest, 'YYYY-MM-DD'))
				WHEN c.days = 0 THEN format('There are no days yet: the first is %s', to_char(s.start_date, 'YYYY-MM-DD'))
				WHEN c.days = 1 THEN CASE c.here WHEN 1 THEN 'The one day is here' ELSE 'The one day is not here' END
				ELSE format('%s of %s days are here', @extschema@._contratos_page_count(c.here), @extschema@._contratos_page_count(c.days)) END AS first,
			CASE WHEN NOT s.is_snapshot THEN ' (' || c.others || ')' END AS others,
			coalesce('last success <span class="keep">' || @extschema@._contratos_page_time(t.last_success) || '</span>', 'no load has succeeded yet') AS success,
			CASE WHEN NOT s.enabled THEN 'the source is disabled'
				WHEN is_alone THEN 'no worker is running'
				WHEN t.next_wake IS NULL THEN 'nothing is due'
				WHEN t.next_wake <= @extschema@._contratos_now() THEN 'next wake now'
				ELSE format('next wake <span class="keep">%s</span>', @extschema@._contratos_page_time(t.next_wake)) END AS wake
		FROM @extschema@._contratos_page_sources s
		JOIN @extschema@.contratos_status t ON t.source = s.source
		CROSS JOIN counts c
		WHERE s.source = _contratos_page_verdict.source
	)
	SELECT format(E'<p class="standing%s">%s%s</p></div>\n<p class="verdict"><strong>%s</strong>%s; %s; %s.</p>',
		CASE WHEN mark = 'failed' THEN ' alarm' END,
		@extschema@._contratos_page_mark(mark),
		CASE WHEN mark = 'failed' THEN format('<a href="#problems">%s</a>', standing) ELSE standing END,
		first, others, success, wake)
	FROM said
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_verdict(text, bigint, boolean) IS 'internal: for contratos_page: the end of its header';

CREATE FUNCTION @extschema@._contratos_page_progress(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(E'<section><h2>Running now</h2>\n%s</section>', string_agg(
		format('<div class="run"><p>%s: %s</p><svg viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="%s percent"><rect class="fill-line" width="100" height="6"/><rect class="fill-busy" width="%s" height="6"/></svg></div>',
			to_char(p.day, 'YYYY-MM-DD'),
			concat_ws(', ', @extschema@._contratos_html(p.phase),
				CASE WHEN p.rows_total IS NOT NULL THEN format('%s of %s rows', @extschema@._contratos_page_count(p.rows), @extschema@._contratos_page_count(p.rows_total)) END,
				CASE WHEN p.rows_per_second IS NOT NULL THEN @extschema@._contratos_page_count(p.rows_per_second::bigint) || ' rows a second' END,
				'done at about ' || @extschema@._contratos_page_time(p.eta),
				'since ' || @extschema@._contratos_page_time(p.started_at)),
			coalesce(p.percent, 0), coalesce(p.percent, 0)), E'\n' ORDER BY p.day))
	FROM @extschema@.contratos_progress p
	WHERE p.source = _contratos_page_progress.source
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_progress(text) IS 'internal: for contratos_page: the loads that are running';

-- Of the last 90 days, or as many as there are, but at least 30.
CREATE FUNCTION @extschema@._contratos_page_rows(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH span AS (
		SELECT y.yesterday, greatest(30, least(90, y.yesterday - min(d.day) + 1)) AS length
		FROM @extschema@.contratos_days d, (SELECT @extschema@.contratos_yesterday() AS yesterday) y
		WHERE d.source = _contratos_page_rows.source
		GROUP BY y.yesterday
	), days AS (
		SELECT d.day, d.state, d.rows, d.day - s.yesterday + s.length - 1 AS x, nullif(max(d.rows) OVER (), 0) AS most
		FROM @extschema@.contratos_days d, span s
		WHERE d.source = _contratos_page_rows.source AND d.day > s.yesterday - s.length
	)
	SELECT format(E'<section><h2>Rows per day</h2>\n<svg class="bars" viewBox="0 0 %s 100" preserveAspectRatio="none" role="img" aria-label="rows per day: at most %s, median %s">%s</svg>\n'
			'<p class="ends"><span>%s</span><span>%s</span></p><p class="note">At most %s, median %s. A line at the bottom: no rows are loaded.</p></section>',
		max(s.length) * 10,
		coalesce(@extschema@._contratos_page_count(max(d.rows)), 'none'), coalesce(@extschema@._contratos_page_count(percentile_disc(0.5) WITHIN GROUP (ORDER BY d.rows)), 'none'),
		string_agg(format(E'\n<rect class="%s" x="%s" y="%s" width="8" height="%s"><title>%s: %s</title></rect>',
			CASE WHEN d.rows > 0 THEN 'fill-bar' ELSE 'fill-line' END, d.x * 10 + 1,
			100 - h.height, h.height, to_char(d.day, 'YYYY-MM-DD'),
			CASE WHEN d.rows IS NULL THEN @extschema@._contratos_html(d.state) ELSE to_char(d.rows, 'FM9,999,999,999,999,999,990" rows"') END), '' ORDER BY d.day),
		to_char(max(s.yesterday - s.length + 1), 'YYYY-MM-DD'), to_char(max(s.yesterday), 'YYYY-MM-DD'),
		coalesce(@extschema@._contratos_page_count(max(d.rows)), 'none'), coalesce(@extschema@._contratos_page_count(percentile_disc(0.5) WITHIN GROUP (ORDER BY d.rows)), 'none'))
	FROM days d CROSS JOIN span s
	CROSS JOIN LATERAL (SELECT CASE WHEN d.rows > 0 THEN greatest(2, round(100.0 * d.rows / d.most, 1)) ELSE 2 END AS height) h
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_rows(text) IS 'internal: for contratos_page: bars of the rows of the last days';

CREATE FUNCTION @extschema@._contratos_page_costs(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH months AS (
		SELECT m.month, m.bytes_billed, nullif(max(m.bytes_billed) OVER (), 0) AS most
		FROM (SELECT month, bytes_billed FROM @extschema@._contratos_page_months m
			WHERE m.source = _contratos_page_costs.source ORDER BY month DESC LIMIT 13) m
	)
	SELECT format(E'<section><h2>Cost by month</h2>\n<table class="cost"><thead><tr><th scope="col">Month</th><td></td><th scope="col" class="n">Billed</th><th scope="col" class="n">Price</th></tr></thead><tbody>\n%s\n</tbody></table>'
			'<p class="note">Of loads, rechecks and comparisons, as long as the ledger keeps them; in dollars at 6.25 a TiB, BigQuery&#39;s list price in the US.</p></section>',
		string_agg(format('<tr><th scope="row">%s</th><td class="fill"><svg viewBox="0 0 100 9" preserveAspectRatio="none" aria-hidden="true"><rect class="fill-bar" width="%s" height="9"/></svg></td><td class="n">%s</td><td class="n">%s</td></tr>',
			to_char(m.month, 'YYYY-MM'), coalesce(round(100.0 * m.bytes_billed / m.most, 1), 0), @extschema@._contratos_page_bytes(m.bytes_billed),
			CASE WHEN p.price > 0 AND p.price < 0.005 THEN '&lt; 0.01' ELSE to_char(p.price, 'FM999,999,990.00') END), E'\n' ORDER BY m.month DESC))
	FROM months m CROSS JOIN LATERAL (SELECT m.bytes_billed / 1099511627776.0 * 6.25 AS price) p
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_costs(text) IS 'internal: for contratos_page: what the months cost';

-- The days that the calendar begins with, for screen readers and for print.
CREATE FUNCTION @extschema@._contratos_page_table(source text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format(E'<section><h2>The last 30 days</h2>\n<table class="days"><thead><tr><th scope="col">Day</th><th scope="col">State</th><th scope="col" class="n">Rows</th><th scope="col" class="n tries">Attempts</th><th scope="col">Last check</th></tr></thead><tbody>\n%s\n</tbody></table></section>',
		string_agg(concat(
			format('<tr><th scope="row">%s</th><td class="keep">%s%s</td><td class="n">%s</td><td class="n tries">%s</td><td>%s</td></tr>',
				to_char(d.day, 'YYYY-MM-DD'), @extschema@._contratos_page_mark(d.state), @extschema@._contratos_html(d.state),
				@extschema@._contratos_page_count(d.rows), d.attempts,
				coalesce(regexp_replace(@extschema@._contratos_page_time(d.checked_at), '(.*) (.*) UTC', '<span class="keep">\1</span> \2'), 'never')),
			CASE WHEN d.said <> '' THEN format(E'\n<tr class="said"><td></td><td colspan="4"><bdi>%s</bdi></td></tr>', @extschema@._contratos_html(d.said)) END), E'\n' ORDER BY d.day DESC))
	FROM (SELECT d.day, d.state, d.rows, d.attempts, d.checked_at,
			left(concat_ws('; ', d.error, 'check: ' || d.check_error, 'next attempt ' || @extschema@._contratos_page_time(d.next_attempt_at)), 500) AS said
		FROM @extschema@.contratos_days d
		WHERE d.source = _contratos_page_table.source AND d.day > @extschema@.contratos_yesterday() - 30) d
	HAVING count(*) > 0
$$;
COMMENT ON FUNCTION @extschema@._contratos_page_table(text) IS 'internal: for contratos_page: the last days as a table';

-- Nothing in the page comes from elsewhere or is run: its policy forbids all but its
-- own style sheet.  JIT would compile for seconds what runs for milliseconds.  Errors:
-- 22004 source is null; 42704 no such source; 42501 the caller may not read the views.
CREATE FUNCTION @extschema@.contratos_page(source text DEFAULT 'tokens') RETURNS text
LANGUAGE sql STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
	SELECT concat(
		E'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n',
		E'<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''"/>\n',
		E'<meta name="viewport" content="width=device-width, initial-scale=1"/>\n<meta name="color-scheme" content="light dark"/>\n<title>',
		name, E' - contratos</title>\n<style>', @extschema@._contratos_page_style(), E'</style>\n</head>\n<body>\n',
		@extschema@._contratos_page_marks(),
		E'<main>\n<header>\n<p class="kind">contratos source</p>\n<div class="top"><h1>', name, '</h1>',
		@extschema@._contratos_page_verdict(contratos_page.source, problems, is_alone),
		E'\n</header>\n<section><h2>Days</h2>\n', @extschema@._contratos_page_calendar(contratos_page.source),
		E'</section>\n<section id="problems"><h2>What is wrong now, and what to do</h2>\n', html, E'</section>\n',
		@extschema@._contratos_page_progress(contratos_page.source),
		E'\n<div class="two">\n', @extschema@._contratos_page_rows(contratos_page.source), E'\n', @extschema@._contratos_page_costs(contratos_page.source), E'\n</div>\n',
		@extschema@._contratos_page_table(contratos_page.source),
		E'\n<footer>As of ', @extschema@._contratos_page_time(@extschema@._contratos_now()), E'. Days and times are in UTC; weeks begin on Monday.</footer>\n</main>\n</body>\n</html>')
	FROM (SELECT @extschema@._contratos_html(@extschema@._contratos_source(contratos_page.source)) AS name) n
	CROSS JOIN LATERAL @extschema@._contratos_page_problems(contratos_page.source)
$$;
COMMENT ON FUNCTION @extschema@.contratos_page(text) IS
'how a source stands, as one HTML document without scripts: a calendar of its days, problems, progress, rows, cost';
REVOKE ALL ON FUNCTION @extschema@.contratos_page(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.contratos_page(text) TO pg_monitor;

-- ---------------------------------------------------------------------------
-- For monitoring systems: numbers, and no text but the names of sources and the words of
-- reasons.  What is counted is counted per UTC day: the ledger is pruned, so that a sum
-- of all of it would shrink now and then.
-- ---------------------------------------------------------------------------

-- The caps of a day in bytes, as this session has them; null: no cap.
CREATE FUNCTION @extschema@._contratos_byte_caps(OUT of_source bigint, OUT of_all bigint)
AS 'MODULE_PATHNAME', 'contratos_byte_caps'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@._contratos_byte_caps() IS
'internal: for contratos_metrics: contratos.max_bytes_per_day and contratos.max_bytes_per_day_total';

-- The states are those of _contratos_days, of which this is a faster way: the ledger is
-- read once, without the rechecks that found nothing, which are most of it; and jit
-- would take longer than all the rest.  test/t/222_metrics.pl compares the two.  The
-- settings need a function, and it runs with its owner's rights as a view would.
CREATE FUNCTION @extschema@._contratos_metrics()
RETURNS TABLE (source text, enabled integer, worker_up integer, failing_steps integer,
	newest_day_age_seconds double precision, upstream_age_seconds double precision, late_seconds double precision, waiting_seconds double precision,
	last_success_age_seconds double precision, last_check_age_seconds double precision, missing_days bigint, queued_days bigint,
	running_days bigint, waiting_days bigint, provisional_days bigint, confirmed_days bigint,
	differs_days bigint, failed_days bigint, empty_days bigint, last_load_rows bigint,
	last_load_seconds double precision, last_load_bytes_billed bigint, last_load_rejects bigint, loads_today bigint,
	checks_today bigint, failures_today bigint, rows_today bigint, load_seconds_today double precision,
	bytes_billed_today bigint, confirmed_changed_today bigint, budget_used_ratio double precision)
LANGUAGE sql STABLE PARALLEL UNSAFE SECURITY DEFINER ROWS 10
SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
WITH clock AS MATERIALIZED (
	SELECT @extschema@._contratos_now() AS now, y.yesterday, (y.yesterday + 1)::timestamp AT TIME ZONE 'UTC' AS midnight
	FROM (SELECT @extschema@.contratos_yesterday() AS yesterday) y
), runs AS MATERIALIZED (
	SELECT r.id, r.source, r.day, r.cause, r.status, r.attempt, r.started_at, r.finished_at, r.next_attempt_at,
		r.confirmed_at, r.rows_loaded, r.values_altered, r.bytes_billed, r.only_cost,
		coalesce(r.finished_at, r.started_at) >= (SELECT c.midnight FROM clock c)
			AND coalesce(r.finished_at, r.started_at) < (SELECT c.midnight FROM clock c) + interval '24 hours' AS is_today,
		CASE r.status WHEN 'accepted' THEN r.target_rows ELSE r.rows_loaded END AS rows,
		r.error LIKE 'BigQuery has no rows of %' AS is_empty, r.cause <> 'recheck' AS is_load,
		r.status IN ('queued', 'running', 'waiting') AS is_open, r.status IN ('succeeded', 'accepted') AS is_success,
		r.status IN ('failed', 'interrupted') AS is_failed
	FROM @extschema@.contratos_runs r
	WHERE r.status <> 'unchanged' OR coalesce(r.finished_at, r.started_at) >= (SELECT c.midnight FROM clock c)
), by_day AS MATERIALIZED (
	-- a run is of a kind if it is the newest of that kind
	SELECT r.source, r.day,
		bool_or(r.is_open) AS is_open,
		max(r.status) FILTER (WHERE r.is_load AND r.is_open) AS open,
		max(r.id) FILTER (WHERE r.is_load AND r.is_open) AS open_id,
		max(r.id) FILTER (WHERE r.is_success) AS success,
		max(r.id) FILTER (WHERE r.status = 'accepted') AS accepted,
		max(r.id) FILTER (WHERE r.status = 'succeeded' AND r.confirmed_at IS NOT NULL) AS confirmed,
		max(r.id) FILTER (WHERE r.is_success AND r.rows > 0) AS with_rows,
		max(r.id) FILTER (WHERE r.is_success AND r.rows = 0) AS without_rows,
		max(r.id) FILTER (WHERE r.status = 'differs') AS differs,
		max(r.id) FILTER (WHERE r.is_load AND NOT r.is_open
						  AND (r.status <> 'canceled' OR r.started_at IS NOT NULL)) AS load,
		max(r.id) FILTER (WHERE r.status = 'canceled' AND r.started_at IS NULL) AS taken_off,
		max(r.id) FILTER (WHERE r.is_load AND r.status = 'refused') AS refused,
		max(r.id) FILTER (WHERE r.is_load AND r.is_failed) AS failed,
		max(r.id) FILTER (WHERE r.is_load AND r.is_failed AND r.next_attempt_at IS NULL) AS given_up,
		max(r.id) FILTER (WHERE r.is_load AND r.is_empty) AS empty
	FROM runs r WHERE NOT r.only_cost AND r.status <> 'unchanged' GROUP BY r.source, r.day
), disputed AS MATERIALIZED (
	-- a later recheck that found nothing ends a difference, and what a failed load means
	SELECT b.source, b.day, max(u.id) AS unchanged
	FROM by_day b
	JOIN @extschema@.contratos_runs u ON u.source = b.source AND u.day = b.day AND u.status = 'unchanged' AND NOT u.only_cost
	WHERE b.differs > b.success OR greatest(b.refused, b.failed) > b.success
	GROUP BY b.source, b.day
), days AS (
	SELECT d.source, d.day, d.is_open, d.success,
		CASE
			WHEN d.open IS NOT NULL THEN d.open
			WHEN d.refused = d.latest AND d.fails AND (d.success IS NULL OR d.accepted IS DISTINCT FROM d.success) THEN 'failed'
			WHEN d.given_up = d.latest AND d.fails AND (d.success IS NULL OR d.differs) THEN 'failed'
			WHEN d.success IS NULL THEN
				CASE
					WHEN d.failed = d.latest THEN 'waiting'
					WHEN d.latest IS NOT NULL THEN 'canceled'
					ELSE 'missing'
				END
			WHEN d.differs THEN 'differs'
			WHEN d.accepted = d.success THEN 'accepted'
			WHEN d.confirmed = d.success THEN 'confirmed'
			ELSE 'provisional'
		END AS state,
		coalesce(d.with_rows = d.success, false) AS has_rows,
		d.without_rows = d.success OR d.empty = d.latest AS is_empty
	FROM (SELECT b.source, b.day, b.is_open, b.open, b.success, b.accepted, b.confirmed, b.with_rows, b.without_rows,
			b.refused, b.failed, b.given_up, b.empty,
			coalesce(b.differs > greatest(b.success, u.unchanged), false) AS differs,
			coalesce(b.load > coalesce(greatest(b.success, u.unchanged), 0), false) AS fails,
			coalesce(b.open_id, CASE WHEN b.success IS NULL THEN greatest(b.load, b.taken_off) ELSE b.load END) AS latest
		FROM by_day b LEFT JOIN disputed u ON u.source = b.source AND u.day = b.day) d
), known AS (
	-- of a snapshot there is only what was loaded last, and yesterday
	SELECT d.source, d.day, d.success, d.state, d.is_empty, s.first,
		max(d.day) FILTER (WHERE d.has_rows) OVER source AS newest_with_rows
	FROM (SELECT x.source, x.day, x.is_open, x.success, x.state, x.has_rows, x.is_empty,
			max(x.day) FILTER (WHERE x.success IS NOT NULL) OVER (PARTITION BY x.source) AS newest
		FROM days x) d
	JOIN (SELECT s.name, s.timestamp_column IS NULL AS is_whole,
			CASE WHEN s.timestamp_column IS NULL THEN greatest(s.start_date, clock.yesterday) ELSE s.start_date END AS first
		FROM @extschema@.contratos_sources s, clock) s ON s.name = d.source
	CROSS JOIN clock
	WHERE NOT s.is_whole OR d.day IN (clock.yesterday, d.newest) OR d.is_open
	WINDOW source AS (PARTITION BY d.source)
), counted AS (
	SELECT k.source,
		max(k.day) FILTER (WHERE k.success IS NOT NULL) AS newest,
		min(k.newest_with_rows) AS newest_with_rows,
		bool_or(k.day = clock.yesterday AND k.success IS NOT NULL) AS is_there,
		count(*) FILTER (WHERE k.day BETWEEN k.first AND clock.yesterday) AS in_range,
		count(*) FILTER (WHERE k.state = 'missing') AS missing,
		count(*) FILTER (WHERE k.state = 'queued') AS queued,
		count(*) FILTER (WHERE k.state = 'running') AS running,
		count(*) FILTER (WHERE k.state = 'waiting') AS waiting,
		count(*) FILTER (WHERE k.state = 'provisional') AS provisional,
		count(*) FILTER (WHERE k.state = 'confirmed') AS confirmed,
		count(*) FILTER (WHERE k.state = 'differs') AS differs,
		count(*) FILTER (WHERE k.state = 'failed') AS failed,
		count(*) FILTER (WHERE k.day > k.newest_with_rows AND k.is_empty) AS empty,
		min(CASE WHEN k.state = 'waiting' THEN (
			SELECT min(r.started_at) FROM @extschema@.contratos_runs r
			WHERE r.source = k.source AND r.day = k.day AND r.id > coalesce(k.success, 0)
				AND r.cause <> 'recheck' AND NOT r.only_cost) END) AS waiting_since
	FROM known k, clock GROUP BY k.source
), today AS (
	SELECT r.source,
		count(*) FILTER (WHERE r.is_attempt AND r.cause <> 'recheck') AS loads,
		count(*) FILTER (WHERE r.is_attempt AND r.cause = 'recheck') AS checks,
		count(*) FILTER (WHERE r.is_attempt AND r.status IN ('failed', 'refused', 'interrupted')) AS failures,
		coalesce(sum(r.rows_loaded) FILTER (WHERE r.status = 'succeeded'), 0)::bigint AS rows,
		coalesce(sum(extract(epoch FROM r.finished_at - r.started_at)) FILTER (WHERE r.is_attempt AND r.cause <> 'recheck'), 0)::double precision AS seconds,
		coalesce(sum(r.bytes_billed), 0)::bigint AS bytes_billed,
		count(*) FILTER (WHERE r.cause = 'recheck' AND r.status = 'differs' AND (
			SELECT s.confirmed_at IS NOT NULL FROM @extschema@.contratos_runs s
			WHERE s.source = r.source AND s.day = r.day AND s.id < r.id AND s.status = 'succeeded'
			ORDER BY s.id DESC LIMIT 1)) AS confirmed_changed
	FROM (SELECT t.id, t.source, t.day, t.cause, t.status, t.started_at, t.finished_at, t.rows_loaded, t.bytes_billed,
			t.finished_at IS NOT NULL AND t.started_at IS NOT NULL AND NOT t.only_cost
				AND t.status IN ('succeeded', 'failed', 'refused', 'interrupted', 'canceled', 'unchanged', 'differs') AS is_attempt
		FROM runs t WHERE t.is_today) r
	GROUP BY r.source
), ended AS (
	SELECT r.source, max(r.finished_at) AS last_success, max(r.id) AS last_load
	FROM runs r WHERE r.status = 'succeeded' GROUP BY r.source
)
SELECT s.name AS source,
	s.enabled::integer AS enabled,
	CASE WHEN pg_is_in_recovery() THEN NULL
		ELSE ((SELECT @extschema@._contratos_worker()) IS NOT NULL
			OR (SELECT @extschema@._contratos_worker_is_starting()))::integer END AS worker_up,
	(SELECT count(*) FROM @extschema@._contratos_housekeeping)::integer AS failing_steps,
	extract(epoch FROM clock.now - greatest(least(coalesce(counted.newest + 1, s.start_date), clock.yesterday + 1),
		date '0001-01-01')::timestamp AT TIME ZONE 'UTC')::double precision AS newest_day_age_seconds,
	extract(epoch FROM clock.now - greatest(least(coalesce(counted.newest_with_rows + 1, s.start_date), clock.yesterday + 1),
		date '0001-01-01')::timestamp AT TIME ZONE 'UTC')::double precision AS upstream_age_seconds,
	CASE WHEN counted.is_there OR s.start_date > clock.yesterday THEN 0
		ELSE greatest(extract(epoch FROM clock.now - (clock.yesterday + 1 + s.run_at) AT TIME ZONE 'UTC'), 0) END::double precision
		AS late_seconds,
	coalesce(extract(epoch FROM clock.now - counted.waiting_since), 0)::double precision AS waiting_seconds,
	extract(epoch FROM clock.now - ended.last_success)::double precision AS last_success_age_seconds,
	-- older days are not rechecked, and the index finds these
	(SELECT extract(epoch FROM clock.now - max(r.finished_at)) FROM @extschema@.contratos_runs r
	 WHERE r.source = s.name AND r.day > clock.yesterday - greatest(s.recheck_days, 60)
		AND r.cause = 'recheck' AND r.status IN ('unchanged', 'differs'))::double precision AS last_check_age_seconds,
	greatest(CASE WHEN s.timestamp_column IS NOT NULL THEN clock.yesterday - s.start_date + 1
		ELSE (s.start_date <= clock.yesterday)::integer END, 0) - coalesce(counted.in_range, 0) + coalesce(counted.missing, 0) AS missing_days,
	coalesce(counted.queued, 0) AS queued_days,
	coalesce(counted.running, 0) AS running_days,
	coalesce(counted.waiting, 0) AS waiting_days,
	coalesce(counted.provisional, 0) AS provisional_days,
	coalesce(counted.confirmed, 0) AS confirmed_days,
	coalesce(counted.differs, 0) AS differs_days,
	coalesce(counted.failed, 0) AS failed_days,
	coalesce(counted.empty, 0) AS empty_days,
	last_load.rows_loaded AS last_load_rows,
	extract(epoch FROM last_load.finished_at - last_load.started_at)::double precision AS last_load_seconds,
	last_load.bytes_billed AS last_load_bytes_billed,
	CASE WHEN last_load.id IS NOT NULL THEN coalesce(last_load.values_altered, 0) END AS last_load_rejects,
	coalesce(today.loads, 0) AS loads_today,
	coalesce(today.checks, 0) AS checks_today,
	coalesce(today.failures, 0) AS failures_today,
	coalesce(today.rows, 0) AS rows_today,
	coalesce(today.seconds, 0) AS load_seconds_today,
	coalesce(today.bytes_billed, 0) AS bytes_billed_today,
	coalesce(today.confirmed_changed, 0) AS confirmed_changed_today,
	greatest(coalesce(today.bytes_billed, 0)::double precision / caps.of_source,
		(SELECT coalesce(sum(t.bytes_billed), 0) FROM today t)::double precision / caps.of_all) AS budget_used_ratio
FROM @extschema@.contratos_sources s
CROSS JOIN clock
CROSS JOIN @extschema@._contratos_byte_caps() caps
LEFT JOIN counted ON counted.source = s.name
LEFT JOIN today ON today.source = s.name
LEFT JOIN ended ON ended.source = s.name
LEFT JOIN @extschema@.contratos_runs last_load ON last_load.id = ended.last_load
$$;
COMMENT ON FUNCTION @extschema@._contratos_metrics() IS
'internal: what contratos_metrics shows';
REVOKE ALL ON FUNCTION @extschema@._contratos_metrics() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@._contratos_metrics() TO pg_monitor;

CREATE VIEW @extschema@.contratos_metrics AS
SELECT m.source, m.enabled, m.worker_up, m.failing_steps, m.newest_day_age_seconds,
	m.upstream_age_seconds, m.late_seconds, m.waiting_seconds, m.last_success_age_seconds, m.last_check_age_seconds,
	(SELECT greatest(extract(epoch FROM n.next_wake - @extschema@._contratos_now()), 0)
	 FROM @extschema@._contratos_next(m.source) n WHERE n.next_wake IS NOT NULL)::double precision AS next_wake_seconds,
	m.missing_days, m.queued_days, m.running_days, m.waiting_days,
	m.provisional_days, m.confirmed_days, m.differs_days, m.failed_days, m.empty_days,
	m.last_load_rows, m.last_load_seconds, m.last_load_bytes_billed, m.last_load_rejects, m.loads_today,
	m.checks_today, m.failures_today, m.rows_today, m.load_seconds_today, m.bytes_billed_today,
	m.confirmed_changed_today, m.budget_used_ratio
FROM @extschema@._contratos_metrics() m;
COMMENT ON VIEW @extschema@.contratos_metrics IS
'a row for each source, in numbers, for monitoring systems; null: not known yet, or there is no such thing';
COMMENT ON COLUMN @extschema@.contratos_metrics.source IS
'name in contratos_sources';
COMMENT ON COLUMN @extschema@.contratos_metrics.enabled IS
'1: the worker loads it; 0: calls only';
COMMENT ON COLUMN @extschema@.contratos_metrics.worker_up IS
'1: a worker of this database runs, or is being started; 0: none; null: this is a standby, which needs none';
COMMENT ON COLUMN @extschema@.contratos_metrics.failing_steps IS
'steps of the worker, other than loading, that fail; the same for all sources';
COMMENT ON COLUMN @extschema@.contratos_metrics.newest_day_age_seconds IS
'time since the end of the newest day that is loaded or accepted; before there is one, since the beginning of start_date';
COMMENT ON COLUMN @extschema@.contratos_metrics.upstream_age_seconds IS
'time since the end of the newest day that BigQuery is known to have rows of; before there is one, since the beginning of start_date';
COMMENT ON COLUMN @extschema@.contratos_metrics.late_seconds IS
'how long yesterday has been due (at run_at) and is not loaded; 0: it is loaded or accepted, or not due yet';
COMMENT ON COLUMN @extschema@.contratos_metrics.waiting_seconds IS
'how long the day that has waited longest has waited, since its first attempt; 0: none waits';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_success_age_seconds IS
'time since a load last succeeded; null: none has';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_check_age_seconds IS
'time since a recheck last came to a result, whichever; null: none has';
COMMENT ON COLUMN @extschema@.contratos_metrics.next_wake_seconds IS
'time until the worker next does something for the source, if it runs; 0: it is due; null: never';
COMMENT ON COLUMN @extschema@.contratos_metrics.missing_days IS
'days in state missing; yesterday is one until it is loaded';
COMMENT ON COLUMN @extschema@.contratos_metrics.queued_days IS
'days in state queued';
COMMENT ON COLUMN @extschema@.contratos_metrics.running_days IS
'days that the worker is loading';
COMMENT ON COLUMN @extschema@.contratos_metrics.waiting_days IS
'days in state waiting';
COMMENT ON COLUMN @extschema@.contratos_metrics.provisional_days IS
'days in state provisional';
COMMENT ON COLUMN @extschema@.contratos_metrics.confirmed_days IS
'days in state confirmed';
COMMENT ON COLUMN @extschema@.contratos_metrics.differs_days IS
'days in state differs';
COMMENT ON COLUMN @extschema@.contratos_metrics.failed_days IS
'days in state failed or refused';
COMMENT ON COLUMN @extschema@.contratos_metrics.empty_days IS
'days after the newest one with rows that BigQuery was asked for, and has none of';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_load_rows IS
'rows of the load that succeeded last; null: none has';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_load_seconds IS
'how long it took, with what it waited for BigQuery to have the day';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_load_bytes_billed IS
'bytes that it was billed';
COMMENT ON COLUMN @extschema@.contratos_metrics.last_load_rejects IS
'its values that could not be kept as they were';
COMMENT ON COLUMN @extschema@.contratos_metrics.loads_today IS
'attempts to load a day that have ended in this UTC day, well or not';
COMMENT ON COLUMN @extschema@.contratos_metrics.checks_today IS
'the same of rechecks';
COMMENT ON COLUMN @extschema@.contratos_metrics.failures_today IS
'attempts of both kinds that have failed, were refused or interrupted in this UTC day';
COMMENT ON COLUMN @extschema@.contratos_metrics.rows_today IS
'rows loaded in this UTC day';
COMMENT ON COLUMN @extschema@.contratos_metrics.load_seconds_today IS
'how long the loads that have ended in this UTC day took, together';
COMMENT ON COLUMN @extschema@.contratos_metrics.bytes_billed_today IS
'bytes billed in this UTC day, as contratos.max_bytes_per_day counts them';
COMMENT ON COLUMN @extschema@.contratos_metrics.confirmed_changed_today IS
'rechecks of this UTC day that found a day different that was confirmed before';
COMMENT ON COLUMN @extschema@.contratos_metrics.budget_used_ratio IS
'bytes billed in this UTC day, by the cap of a day: the sources, or that of all sources if that is nearer; null: there is no cap';

CREATE VIEW @extschema@.contratos_metrics_failures AS
SELECT f.source, f.reason, count(*) AS failures_today
FROM (
	SELECT r.source,
		-- a word of BigQuery's, whatever else answers in its place
		CASE WHEN r.reason ~ '^[A-Za-z]{1,40}$' THEN r.reason WHEN r.status = 'failed' THEN coalesce(r.sqlstate, 'unknown') ELSE r.status END AS reason
	FROM @extschema@.contratos_runs r, (SELECT (@extschema@.contratos_yesterday() + 1)::timestamp AT TIME ZONE 'UTC' AS midnight) clock
	WHERE r.status IN ('failed', 'refused', 'interrupted') AND NOT r.only_cost AND r.started_at IS NOT NULL
		AND r.finished_at >= clock.midnight AND r.finished_at < clock.midnight + interval '24 hours'
) f
JOIN @extschema@.contratos_sources s ON s.name = f.source
GROUP BY f.source, f.reason;
COMMENT ON VIEW @extschema@.contratos_metrics_failures IS
'a row for each source and reason for which attempts have failed in this UTC day; together they are failures_today of contratos_metrics';
COMMENT ON COLUMN @extschema@.contratos_metrics_failures.source IS 'name in contratos_sources';
COMMENT ON COLUMN @extschema@.contratos_metrics_failures.reason IS
'BigQuery''s word, or unreachable or schemaDrift; without one refused, interrupted, or the SQLSTATE';
COMMENT ON COLUMN @extschema@.contratos_metrics_failures.failures_today IS 'attempts to load or to recheck';

GRANT SELECT ON @extschema@.contratos_metrics, @extschema@.contratos_metrics_failures TO pg_monitor;

-- A worker that is waiting for this version looks at once: the statement trigger
-- fires although there is nothing to delete.
DELETE FROM @extschema@.contratos_sources WHERE false;
