"""The style sheet of our pages: a quiet one, for paper, small windows and dark rooms alike."""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme:light dark; --ink:#1c2430; --soft:#5d6875; --line:#dfe4ea;
  --back:#fbfbf9; --card:#fff; --main:#1f5fa8; --band:#1f5fa826;
  --more:#2c7f5b; --less:#b7553a; --warn:#b7553a; }
@media screen and (prefers-color-scheme: dark) { :root { --ink:#e8ebef; --soft:#9aa5b1;
  --line:#333c47; --back:#14181d; --card:#1b2127; --main:#74aef0; --band:#74aef030; --more:#62c197;
  --less:#e58a6c; --warn:#e58a6c; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--back); color:var(--ink);
  font:16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width:1080px; margin:0 auto; padding:36px 24px 64px; }
h1 { font-size:30px; line-height:1.2; margin:0 0 4px; letter-spacing:-.01em; text-wrap:balance; }
h2 { font-size:19px; margin:0 0 12px; }
h3 { font-size:15px; margin:0 0 6px; }
.pair { display:grid; grid-template-columns:repeat(auto-fit, minmax(300px, 1fr)); gap:24px;
  margin-top:20px; font-size:14px; }
p { margin:0 0 8px; max-width:74ch; }
.meta { color:var(--soft); font-size:14px; margin-bottom:16px; }
.lead { font-size:19px; }
section { margin-top:36px; }
.tiles { display:grid; grid-template-columns:repeat(auto-fit, minmax(165px, 1fr)); gap:12px;
  margin-top:24px; }
.tile { background:var(--card); border:1px solid var(--line); border-radius:8px;
  padding:14px 16px; }
.tile span { display:block; color:var(--soft); font-size:13px; }
.tile b { display:block; font-size:22px; font-variant-numeric:tabular-nums; white-space:nowrap; }
.tile small, td small { color:var(--soft); }
.wide { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-size:14px; }
th, td { text-align:left; padding:7px 10px 7px 0; border-bottom:1px solid var(--line);
  vertical-align:baseline; }
thead th { color:var(--soft); font-weight:500; font-size:13px; vertical-align:bottom; }
tbody th { font-weight:600; }
.n { text-align:right; font-variant-numeric:tabular-nums; white-space:nowrap; }
.n.fold { white-space:normal; min-width:150px; } thead .n { white-space:normal; }
.n small { display:block; font-size:12px; }
.bars { width:104px; padding-left:4px; } .bar { width:96px; height:12px; display:block; }
.n + .why { padding-left:8px; }
.why { color:var(--soft); min-width:220px; }
.by { color:var(--soft); font-weight:400; }
.badge { font-style:normal; font-weight:500; font-size:12px; color:var(--main);
  border:1px solid var(--main); border-radius:99px; padding:0 7px; white-space:nowrap; }
.grid-of { display:grid; grid-template-columns:repeat(auto-fill, minmax(280px, 1fr)); gap:14px; }
figure { margin:0; background:var(--card); border:1px solid var(--line); border-radius:8px;
  padding:10px 12px 6px; }
figcaption { font-size:14px; font-weight:600; overflow-wrap:anywhere; }
figure svg { width:100%; height:auto; display:block; }
figure.full { max-width:760px; margin-top:16px; } .narrow { display:none; }
details { margin-top:12px; } summary { cursor:pointer; color:var(--main); margin-bottom:10px; }
.legend { color:var(--soft); font-size:13px; max-width:none; } figure + .legend { margin-top:8px; }
.key { display:inline-block; width:11px; height:11px; border-radius:99px; margin:0 3px 0 10px;
  vertical-align:-1px; }
.key.was { border:2px solid var(--ink); background:var(--card); }
.key.goes { background:var(--main); }
.key.band { border-radius:2px; background:var(--band); }
.legend .key:first-child { margin-left:0; }
ul { margin:0; padding-left:20px; } a { color:var(--main); }
.grid { stroke:var(--line); stroke-width:1; }
.tick { fill:var(--soft); font-size:10.5px; } .end { text-anchor:end; } .mid { text-anchor:middle; }
.curve { fill:none; stroke:var(--main); stroke-width:2; stroke-linejoin:round; }
.band { fill:var(--band); } .zero { stroke:var(--ink); stroke-width:1; }
.mark { stroke:var(--soft); stroke-width:1; stroke-dasharray:2 3; }
.state { font-weight:600; white-space:nowrap; } .state.pass { color:var(--more); }
.state.fail { color:var(--less); } .name { white-space:nowrap; }
.was { fill:var(--card); stroke:var(--ink); stroke-width:2; } .goes { fill:var(--main); }
.look { fill:var(--main); } .more { fill:var(--more); } .less { fill:var(--less); }
@page { margin:16mm 14mm; }
@media print { body { background:#fff; } main { max-width:none; padding:0; }
  * { print-color-adjust:exact; -webkit-print-color-adjust:exact; }
  details::details-content { content-visibility:visible; display:block; block-size:auto; }
  summary { display:none; } .wide { overflow:visible; } table { font-size:12px; }
  .why { min-width:150px; } .n.fold { min-width:100px; } .bars { width:60px; } .bar { width:52px; }
  .tiles { grid-template-columns:repeat(4, 1fr); } .lead { font-size:16px; }
  h2, h3, .legend { break-after:avoid; } figure + .legend { break-before:avoid; }
  figure, tr, .tile, .legend, .pair > div { break-inside:avoid; } }
@media screen and (max-width:820px) { main { padding:24px 16px 48px; } h1 { font-size:25px; }
  .why { min-width:180px; } }
@media screen and (max-width:620px) { .broad { display:none; } .narrow { display:block; }
  .stack, .stack tbody, .stack tr, .stack th, .stack td { display:block; }
  .stack thead { display:none; } .stack tr { padding:10px 0; border-bottom:1px solid var(--line); }
  .stack th, .stack td { border:0; padding:2px 0; white-space:normal; min-width:0; }
  .stack td[data-of] { display:flex; gap:12px; text-align:left; }
  .stack td[data-of]::before { content:attr(data-of); color:var(--soft); font-weight:400;
    font-size:13px; flex:0 0 120px; }
  .stack td[data-of] > span { flex:1; min-width:0; } .stack .n small { display:inline; }
  .stack .bars { display:none; } .stack .n + .why { padding-left:0; }
  .dense td[data-of] { display:inline-flex; gap:5px; margin-right:14px; }
  .dense td[data-of]::before { flex:none; } }
"""


def table_cell(label: str, content: str, kind: str = "") -> str:
    """A table's cell; ``label`` names it where the table is stacked on a narrow screen."""
    mark = f' class="{kind}"' if kind else ""
    return f'<td{mark} data-of="{escape(label)}"><span>{content}</span></td>'
