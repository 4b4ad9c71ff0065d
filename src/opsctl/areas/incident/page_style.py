"""The style of the post-mortem's page: its only colours and sizes, light and dark."""

STYLE = """
:root { color-scheme: light dark; --ground: #f4f5f7; --card: #fff; --ink: #1a1f26;
  --faint: #5c6672; --line: #e2e5ea; --bad: #c02f2f; --warn: #8a5d00; --good: #1d7a4a;
  --plot: #3f6cc0; --wash: #eef0f3; --open: #fff6df; }
@media (prefers-color-scheme: dark) { :root { --ground: #0e1116; --card: #161b22;
  --ink: #e6e9ee; --faint: #98a2b0; --line: #262d37; --bad: #f0625f; --warn: #e0a52c;
  --good: #3fb27a; --plot: #6d9af0; --wash: #1e242d; --open: #2a2413; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%; }
main { max-width: 980px; margin: 0 auto; padding: 36px 20px 56px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.015em; }
h2 { font-size: 19px; margin: 0 0 12px; }
h3 { font-size: 16px; margin: 16px 0 4px; }
p { margin: 0 0 8px; }
.faint { color: var(--faint); }
header { display: flex; flex-wrap: wrap; gap: 12px 24px; align-items: flex-start;
  justify-content: space-between; margin-bottom: 22px; }
header > div { flex: 1 1 320px; }
.pills { display: flex; gap: 8px; flex-wrap: wrap; }
.pill { border-radius: 99px; padding: 3px 12px; font-size: 14px; font-weight: 600; color: #fff;
  background: var(--faint); white-space: nowrap; }
.pill.P0, .pill.P1 { background: var(--bad); } .pill.finished { background: var(--good); }
@media (prefers-color-scheme: dark) { .pill { color: #0e1116; } }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px;
  margin-bottom: 16px; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; }
.tile { padding: 14px 18px; font-size: 14px; color: var(--faint); }
.tile b { display: block; font-size: 27px; line-height: 1.25; font-weight: 650; color: var(--ink); }
.tile b.open { color: var(--warn); font-size: 20px; line-height: 34px; }
.card { padding: 20px 22px; margin-bottom: 16px; }
.course { display: flex; height: 14px; border-radius: 7px; overflow: hidden; gap: 2px;
  margin-bottom: 12px; }
.course i { display: block; min-width: 4px; }
.unseen { background: var(--bad); } .unanswered { background: var(--warn); }
.worked { background: var(--plot); } .watched { background: var(--good); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; color: var(--faint); }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px;
  margin-right: 6px; }
dl { display: grid; grid-template-columns: 130px 1fr; gap: 6px 16px; margin: 0; }
dt { color: var(--faint); } dd { margin: 0; }
ol { list-style: none; margin: 0; padding: 0; }
.line li { display: grid; grid-template-columns: 82px 18px 1fr; gap: 0 8px; padding: 4px 0; }
.line time { color: var(--faint); font-size: 14px; line-height: 24px; }
.line i { position: relative; }
.line i::before { content: ""; position: absolute; left: 4px; top: 8px; width: 9px; height: 9px;
  border-radius: 9px; background: var(--plot); }
.line i::after { content: ""; position: absolute; left: 8px; top: 19px; bottom: -14px; width: 1px;
  background: var(--line); }
.line li:last-child i::after { display: none; }
.line .health i::before { background: var(--bad); }
.line .good i::before { background: var(--good); }
.line .incident i::before {
  background: var(--faint); } .line .deployment i::before { background: var(--warn); }
.line .day { display: block; font-weight: 600; padding-top: 8px; }
.line small { color: var(--faint); font-size: 13px; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-size: 14px; font-weight: 600; color: var(--faint); }
th, td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.open-question { background: var(--open); border-radius: 8px; padding: 8px 12px; color: var(--warn);
  font-weight: 600; }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { color: var(--faint); font-size: 14px; margin-top: 22px; }
@media (max-width: 640px) { main { padding: 20px 12px 36px; } h1 { font-size: 24px; }
  .card { padding: 16px; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .line li { grid-template-columns: 66px 16px 1fr; gap: 0 6px; }
  thead { display: none; } tr { display: block; padding: 8px 0; border-bottom: 1px solid
  var(--line); } tr:last-child { border-bottom: 0; } td { display: block; padding: 1px 0;
  border: 0; } td[data-name]::before { content: attr(data-name) ": "; color: var(--faint); } }
@media print { body { background: #fff; } .card, .tile { break-inside: avoid; } }
"""
