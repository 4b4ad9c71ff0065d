"""The style of the health report's page: its only colours and sizes, light and dark."""

STYLE = """
:root { color-scheme: light dark; --ground: #f4f5f7; --card: #fff; --ink: #1a1f26;
  --faint: #5c6672; --line: #e2e5ea; --good: #1d8450; --fair: #c98500; --bad: #c93434;
  --warn: #8a5d00;
  --none: #c7ccd4; --rest: #7f9be0; --plot: #4c78c9; --wash: #eef0f3; }
@media (prefers-color-scheme: dark) { :root { --ground: #0e1116; --card: #161b22;
  --ink: #e6e9ee; --faint: #98a2b0; --line: #262d37; --good: #3fb27a; --fair: #e0a52c;
  --bad: #f0625f; --warn: #e0a52c;
  --none: #3d4652; --rest: #5874bd; --plot: #6d9af0; --wash: #1e242d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 17px; margin: 0; overflow-wrap: anywhere; }
h3 { font-size: 12px; margin: 0 0 6px; color: var(--faint); font-weight: 600; }
p { margin: 0; }
.faint { color: var(--faint); }
header { display: flex; flex-wrap: wrap; gap: 12px 24px; align-items: flex-end;
  justify-content: space-between; margin-bottom: 18px; }
.pill { display: inline-block; border-radius: 99px; padding: 2px 11px; font-size: 13px;
  font-weight: 600; color: #fff; background: var(--none); white-space: nowrap; }
.pill.met, .pill.ok { background: var(--good); }
.pill.missed, .pill.failed { background: var(--bad); }
.pill.lacking, .pill.unknown { background: var(--faint); }
@media (prefers-color-scheme: dark) { .pill { color: #0e1116; } }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin-bottom: 18px; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.tile { padding: 12px 16px; }
.tile b { display: block; font-size: 24px; line-height: 1.2; font-weight: 650; }
.card { padding: 18px 20px; margin-bottom: 14px; }
.name { display: flex; gap: 12px; align-items: center; justify-content: space-between;
  margin-bottom: 12px; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(92px, 1fr)); gap: 10px 14px;
  margin: 0 0 16px; }
dt { font-size: 12px; color: var(--faint); }
dd { margin: 0; font-size: 17px; font-weight: 600; white-space: nowrap; }
dd.bad { color: var(--bad); }
dd small { font-size: 12px; font-weight: 400; color: var(--faint); display: block;
  white-space: normal; line-height: 1.3; }
.card.small { padding: 12px 20px; } .card.small .name { margin-bottom: 8px; flex-wrap: wrap; }
.card.small .strip { margin: 0; }
.plots { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 1fr); gap: 16px 24px; }
figure { margin: 0; position: relative; }
svg { display: block; width: 100%; }
.strip { height: 16px; margin-bottom: 10px; }
.plot { height: 84px; border-bottom: 1px solid var(--line); }
.axis { display: flex; justify-content: space-between; font-size: 11px; color: var(--faint);
  margin-top: 4px; gap: 8px; }
.limit { position: absolute; right: 0; font-size: 11px; color: var(--faint);
  background: var(--card); padding: 0 0 0 4px; line-height: 1; transform: translateY(-50%); }
.frame { position: relative; }
.good { fill: var(--good); } .fair { fill: var(--fair); } .bad { fill: var(--bad); }
.none { fill: var(--none); opacity: .55; } .rest { fill: var(--rest); } .p95 { fill: var(--plot); }
.wash { fill: var(--wash); } .over { fill: var(--fair); }
.rule { stroke: var(--faint); stroke-width: 1; stroke-dasharray: 4 4;
  vector-effect: non-scaling-stroke; }
.mark { stroke: var(--ink); stroke-width: 1; vector-effect: non-scaling-stroke; opacity: .55; }
ul { margin: 14px 0 0; padding: 0; list-style: none; border-top: 1px solid var(--line); }
li { padding: 8px 0 0; overflow-wrap: anywhere; }
li b { font-weight: 600; } li.bad b { color: var(--bad); } li.fair b { color: var(--warn); }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--faint);
  overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 12px; color: var(--faint);
  margin: 0 0 14px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px;
  margin-right: 5px; vertical-align: -1px; }
footer { color: var(--faint); font-size: 13px; margin-top: 22px; }
footer p { margin-bottom: 2px; }
@media (max-width: 640px) { main { padding: 18px 12px 32px; } h1 { font-size: 22px; }
  .card { padding: 14px; } .plots { grid-template-columns: minmax(0, 1fr); }
  dl { grid-template-columns: repeat(auto-fit, minmax(84px, 1fr)); } }
@media print { body { background: #fff; } .card, .tile { break-inside: avoid; } }
"""
