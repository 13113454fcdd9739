"""The style sheet: light and dark, Okabe and Ito's colours (told apart by colour-blind eyes), one column when narrow.

Every rule is below `.pa`, since in CloudWatch the page stands within another one. Nothing is loaded from anywhere.
"""

from typing import Final

from pullahead.dashboard.html import Html
from pullahead.dashboard.widget_request import Theme

_LIGHT: Final = (
    "--ink:#16191f;--dim:#5b6470;--line:#dfe3e8;--page:#fff;--card:#f6f7f9;--hover:#eef1f4;--link:#0b62b8;"
    "--fresh:#009e73;--stale:#e69f00;--blocked:#d55e00;--gone:#c05c94;--missing:#0072b2;--unknown:#68717c;--mark:#fff;"
    "--h0:#e4efeb;--h1:#fdebcf;--h2:#f8c27c;--h3:#e98a2d;--h4:#b94e00;--t2:#16191f;--t3:#16191f;--t4:#fff;--warn:#fff4e0"
)
_DARK: Final = (
    "--ink:#e6e9ed;--dim:#a3adb9;--line:#2f3b49;--page:#10171f;--card:#18222d;--hover:#1f2b38;--link:#6cb4ff;"
    "--fresh:#2fbf95;--stale:#f0b429;--blocked:#f0803c;--gone:#e09cc4;--missing:#56b4e9;--unknown:#a3adb9;--mark:#10171f;"
    "--h0:#183230;--h1:#46351c;--h2:#7a5117;--h3:#b8741a;--h4:#f2a33c;--t2:#fff;--t3:#10171f;--t4:#10171f;--warn:#33280f"
)
_FONT: Final = (
    '"Amazon Ember","Helvetica Neue",-apple-system,BlinkMacSystemFont,"Segoe UI",Roboto,"DejaVu Sans",Arial,sans-serif'
)

_RULES: Final = """
.pa,.pa *{box-sizing:border-box}
.pa{color:var(--ink);background:var(--page);font:14px/1.45 FONT;container-type:inline-size;padding:16px}
.pa a{color:var(--link);text-decoration:none}
.pa a:hover{text-decoration:underline}
.pa :focus-visible{outline:2px solid var(--link);outline-offset:1px}
.pa h2{font-size:18px;font-weight:600;margin:0}
.pa h3{font-size:15px;font-weight:600;margin:28px 0 4px}
.pa p{margin:0 0 8px}
.pa .dim{color:var(--dim)}
.pa .top{display:flex;flex-wrap:wrap;gap:4px 16px;align-items:baseline;justify-content:space-between;margin-bottom:12px}
.pa cwdb-action,.pa [hidden]{display:none!important}
.pa .tiles{display:flex;flex-wrap:wrap;gap:8px;margin-bottom:16px}
.pa .states{flex:99 1 744px;display:grid;grid-template-columns:repeat(auto-fit,minmax(118px,1fr));gap:8px}
.pa .facts{flex:1 1 400px;display:grid;grid-template-columns:1fr 1fr;gap:8px}
.pa .tile{font:inherit;color:inherit;text-align:left;background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:10px 12px;min-width:0}
.pa button.tile{cursor:pointer;display:flex;flex-direction:column}
.pa button.tile:hover{background:var(--hover)}
.pa .tile[aria-pressed=true]{border-color:var(--link);box-shadow:inset 0 0 0 1px var(--link)}
.pa .tile.warn{background:var(--warn)}
.pa .tile span,.pa .tile b{display:block;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.pa .tile b{font-size:22px;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
.pa .tile .word,.pa .state{display:flex;align-items:center;gap:6px;font-size:12px;font-weight:600;
letter-spacing:.02em;white-space:nowrap}
.pa .tile .small{font-size:12px;color:var(--dim)}
.pa .zero b{color:var(--dim);font-weight:400}
.pa-i{width:16px;height:16px;flex:none;fill:none;stroke:none}
.pa-i .f{fill:currentColor}
.pa-i .k{stroke:var(--mark);stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.pa-i .o{stroke:currentColor;stroke-width:2.2}
.pa-i .l{stroke:currentColor;stroke-width:2;stroke-linecap:round}
.pa .pa-fresh{color:var(--fresh)}.pa .pa-stale{color:var(--stale)}.pa .pa-blocked{color:var(--blocked)}
.pa .pa-gone{color:var(--gone)}.pa .pa-missing{color:var(--missing)}.pa .pa-unknown{color:var(--unknown)}
.pa .pa-deleted{color:var(--unknown)}
.pa .bar{display:flex;flex-wrap:wrap;gap:8px 12px;align-items:end;margin-bottom:8px}
.pa form{display:contents}
.pa label{font-size:12px;color:var(--dim)}
.pa label>*{display:block;margin-top:2px}
.pa select,.pa input,.pa .btn{font:inherit;font-size:14px;color:var(--ink);background:var(--page);
border:1px solid var(--line);border-radius:6px;height:32px;padding:0 10px}
.pa input{width:240px;max-width:100%}
.pa .btn{cursor:pointer;background:var(--card)}
.pa .btn:hover{background:var(--hover)}
.pa .count{margin-left:auto;align-self:center;color:var(--dim);font-variant-numeric:tabular-nums}
.pa .scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
.pa table{border-collapse:collapse;width:100%;margin:0;font-size:14px;background:var(--page)}
.pa th,.pa td{text-align:left;vertical-align:top;padding:8px 12px;border:0;border-bottom:1px solid var(--line)}
.pa tbody tr:last-child>*{border-bottom:0}
.pa thead th{background:var(--card);color:var(--dim);font-size:12px;font-weight:600;white-space:nowrap}
.pa .mirrors tbody th{font-weight:400;min-width:250px}
.pa .mirrors tbody tr:hover>*{background:var(--card)}
.pa .num{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.pa .key{font-weight:600;overflow-wrap:anywhere}
.pa .sub{display:block;font-size:12px;color:var(--dim);overflow-wrap:anywhere}
.pa .why{max-width:420px;min-width:180px;overflow-wrap:anywhere}
.pa .links{white-space:nowrap}
.pa .note{border:1px solid var(--line);border-radius:8px;background:var(--card);padding:24px;text-align:center}
.pa .note ul{display:inline-block;text-align:left;margin:4px 0 0;padding-left:20px}
.pa .note.bad{border-left:4px solid var(--blocked);text-align:left}
.pa .note.bad code{overflow-wrap:anywhere}
.pa code{font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.pa .pager{display:flex;gap:12px;align-items:center;justify-content:flex-end;margin-top:10px}
.pa .heat{font-size:12px;table-layout:fixed;min-width:920px}
.pa .heat th,.pa .heat td{padding:2px;border-bottom:2px solid var(--page)}
.pa .heat tbody th{font-weight:400}
.pa .heat td{text-align:center;font-size:11px;height:24px;line-height:20px;border-right:2px solid var(--page);
font-variant-numeric:tabular-nums}
.pa .heat thead th{text-align:left;padding:4px 2px 4px 4px;border-left:1px solid var(--line)}
.pa .heat thead th:first-child{width:220px;padding-left:12px;border-left:0}
.pa .heat tbody th{padding:4px 12px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.pa .h0{background:var(--h0)}.pa .h1{background:var(--h1)}.pa .h2{background:var(--h2);color:var(--t2)}
.pa .h3{background:var(--h3);color:var(--t3)}.pa .h4{background:var(--h4);color:var(--t4)}
.pa .legend{display:flex;flex-wrap:wrap;gap:4px 14px;margin-top:8px;font-size:12px;color:var(--dim)}
.pa .legend i{display:inline-block;width:18px;height:12px;border-radius:2px;vertical-align:-1px;margin-right:5px}
.pa .legend .none{border:1px dashed var(--line)}
@container (max-width:720px){
.pa .mirrors thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.pa .mirrors,.pa .mirrors tbody,.pa .mirrors tr,.pa .mirrors td,.pa .mirrors th{display:block}
.pa .mirrors tr{padding:10px 12px;border-bottom:1px solid var(--line)}
.pa .mirrors tr:last-child{border-bottom:0}
.pa .mirrors tbody tr>*{border:0;padding:2px 0;text-align:left;min-width:0;max-width:none}
.pa .mirrors td[data-l]{display:flex;gap:8px}
.pa .mirrors td[data-l]::before{content:attr(data-l);flex:0 0 96px;color:var(--dim);font-size:12px;line-height:20px}
.pa .mirrors td:empty{display:none}
.pa label,.pa input,.pa select{width:100%}
.pa .count{margin-left:0}
}
"""


def style_sheet(theme: Theme) -> Html:
    """Write the rules, with the colours of the theme."""
    colours = {
        Theme.LIGHT: f".pa{{{_LIGHT}}}",
        Theme.DARK: f".pa{{{_DARK}}}",
        Theme.AUTO: f".pa{{{_LIGHT}}}@media (prefers-color-scheme:dark){{.pa{{{_DARK}}}}}",
    }
    rules = _RULES.replace("FONT", _FONT).replace("\n", "")
    return Html(f"<style>{colours[theme]}{rules}</style>")
