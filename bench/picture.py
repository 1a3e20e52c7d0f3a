"""The picture for README: how long a day takes, as bars; SVG by hand."""
from xml.sax.saxutils import escape

BAR, GAP, LEFT, WIDTH, TOP = 22, 12, 330, 820, 54
OURS, OTHERS = "#336791", "#9aa5b1"


def bars(results):
    """(label, time ÷ contratos'), the shortest first; None where not all was measured."""
    found = {each.key: each.value.median for each in results}
    if "copy_plain" not in found or "tool_dag" not in found:
        return None
    labels = {"tool_http": "Python: urllib3 + orjson → COPY", "tool_client": "Python: google-cloud-bigquery → COPY",
              "tool_dag_copy": "DAG: extract → Parquet → transform → COPY",
              "tool_dag": "DAG: extract → Parquet → transform → to_sql"}
    rows = [("contratos, over https", 1.0), ("COPY from a CSV file on the server", 1 / found["copy_plain"])]
    return sorted(rows + [(label, found[key]) for key, label in labels.items()], key=lambda row: row[1])


def text(x, y, words, anchor="start", size=14, weight="normal"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}">'
            f"{escape(words)}</text>")


def draw(results):
    """The picture, or None."""
    rows = bars(results)
    if rows is None:
        return None
    scale = (WIDTH - LEFT - 70) / max(value for _, value in rows)
    height = TOP + len(rows) * (BAR + GAP) + 8
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif" fill="#1f2933">',
           f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
           text(16, 30, "Time to load the same day into the same table (contratos = 1)", size=16, weight="bold")]
    for number, (label, value) in enumerate(rows):
        y = TOP + number * (BAR + GAP)
        ours = label.startswith("contratos")
        out += [text(LEFT - 10, y + 16, label, "end", weight="bold" if ours else "normal"),
                f'<rect x="{LEFT}" y="{y}" width="{max(value * scale, 1):.1f}" height="{BAR}" '
                f'fill="{OURS if ours else OTHERS}"/>',
                text(LEFT + value * scale + 8, y + 16, f"{value:.2f}" if value < 3 else f"{value:.1f}")]
    return "\n".join([*out, "</svg>\n"])
