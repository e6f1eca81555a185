//! How the page looks.

use crate::results::svg::{DRAWING, PALETTE};

const PAGE: &str = "\
*{box-sizing:border-box}html{color-scheme:light dark}\
body{margin:0;background:var(--bg);color:var(--ink);\
font:16px/1.5 system-ui,'Segoe UI',Roboto,'Noto Sans',sans-serif}\
main{max-width:1120px;margin:0 auto;padding:24px 20px 64px}\
header{border-left:8px solid var(--muted);background:var(--panel);padding:16px 22px;border-radius:6px}\
header.good{border-color:var(--good)}header.bad{border-color:var(--bad)}\
h1{margin:0;font-size:30px;line-height:1.2}.good h1{color:var(--good)}.bad h1{color:var(--bad)}\
header p{margin:6px 0 0}.why{font-weight:600}\
h2{font-size:21px;margin:44px 0 12px;padding-bottom:6px;border-bottom:1px solid var(--line)}\
h3{font-size:16px;margin:24px 0 8px}p{margin:8px 0}.muted{color:var(--muted)}\
.wide{overflow-x:auto;margin:8px 0}svg{display:block;max-width:100%;height:auto}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:15px}\
th{text-align:left;font-weight:600;color:var(--muted);font-size:14px;vertical-align:bottom}\
td,th{padding:5px 11px 5px 0;border-bottom:1px solid var(--line);white-space:nowrap}\
table.n td,table.n th{text-align:right}\
table.n td:first-child,table.n th:first-child{text-align:left}\
table.n td.t,table.n th.t{text-align:left}td.wrap{white-space:normal}\
table.road td:nth-child(2),table.road th:nth-child(2){text-align:right;padding-left:20px}\
table.meta thead{display:none}table.meta td:first-child{color:var(--muted);padding-right:28px}\
.pass{color:var(--good);font-weight:600}.fail{color:var(--bad);font-weight:600}\
.zero{color:var(--muted)}.hot{color:var(--bad);font-weight:600}\
code,pre{font:13.5px/1.45 ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}\
pre{background:var(--panel);padding:12px 14px;border-radius:6px;overflow-x:auto;margin:8px 0;\
max-height:24em;white-space:pre-wrap;overflow-wrap:anywhere}\
details{margin:6px 0}summary{cursor:pointer}a{color:var(--s0)}ul.files{padding-left:20px}\
@media print{main{max-width:none}}";

/// The page's style sheet.
pub(super) fn css() -> String {
    format!("{PALETTE}{PAGE}{DRAWING}")
}
