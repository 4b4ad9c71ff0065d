"""`opsctl completion`: what bash, zsh, fish and PowerShell need to complete command lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsctl.core.errors import OpsError

if TYPE_CHECKING:
    from opsctl.core.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.command()
def show(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> Report:
    """Print the script that makes a shell complete opsctl's command lines.

    Commands, options, environments, runs, deployments, backups and incidents are completed.

    \b
    bash        source <(opsctl completion bash)
    zsh         source <(opsctl completion zsh)
    fish        opsctl completion fish | source
    powershell  opsctl completion powershell | Out-String | Invoke-Expression
    """
    from opsctl.core.report import Report

    if shell not in SCRIPTS:
        from opsctl.core.misfits import did_you_mean

        raise OpsError(
            f"There is no completion for {shell!r}",
            why=f"there is one for {', '.join(SCRIPTS)}",
            hint=did_you_mean(shell, SCRIPTS) or "opsctl completion bash",
            code="unknown-shell",
        )
    text = SCRIPTS[shell]
    return Report(command="completion show", title=f"Completion for {shell}", text=text,
                  data={"shell": shell, "script": text})  # fmt: skip


@app.command(hidden=True)
def words(
    typed: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="The words after opsctl.")
    ] = None,
    empty: Annotated[
        bool, typer.Option("--empty", help="The word being typed is empty, and not among them.")
    ] = False,
) -> Report:
    """Print what fits the last word, one a line with its meaning: asked by the scripts."""
    from opsctl.cli.candidates import FILES, candidates
    from opsctl.core.report import Report

    found = candidates([*(typed or ()), *([""] if empty else [])])
    if isinstance(found, str):
        return Report(command="completion words", title="Files", text=f"{FILES}\n",
                      data={"files": True, "words": []})  # fmt: skip
    text = "".join(f"{each.word} {each.help}".rstrip() + "\n" for each in found)
    return Report(
        command="completion words",
        title="Words",
        text=text,
        data={"files": False, "words": [{"word": each.word, "help": each.help} for each in found]},
    )


_BASH = r"""# Completion of opsctl for bash. Load it: source <(opsctl completion bash)
_opsctl() {
    local line word current="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default
            COMPREPLY=()
            return
        fi
        word=${line%% *}
        # bash takes --env=x apart: only what stands behind the = is to be put in.
        if [[ $word == --*=* && $current != --* ]]; then word=${word#*=}; fi
        [[ -n $word ]] && COMPREPLY+=("$word")
    done < <(opsctl completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _opsctl opsctl
"""

_ZSH = r"""#compdef opsctl
# Completion of opsctl for zsh. Load it: source <(opsctl completion zsh)
_opsctl() {
    local line
    local -a found
    for line in "${(@f)$(opsctl completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -z $line ]] && continue
        if [[ $line == :files ]]; then
            _files
            return
        fi
        found+=("${${line%% *}//:/\\:}:${line#* }")
    done
    (( $#found )) && _describe -t words opsctl found
}
if [[ ${funcstack[1]} == _opsctl ]]; then
    _opsctl "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
    compdef _opsctl opsctl
fi
"""

_FISH = r"""# Completion of opsctl for fish. Load it: opsctl completion fish | source
function __opsctl_words
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l found (opsctl completion words -- $typed[2..-1] "$current" 2>/dev/null)
    if test "$found" = :files
        __fish_complete_path "$current"
    else
        string match -rv '^$' -- $found | string replace ' ' \t
    end
end
complete -c opsctl -f -a '(__opsctl_words)'
"""

_POWERSHELL = r"""# Completion of opsctl for PowerShell. Load it:
#   opsctl completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName opsctl -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $typed = @($commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
        ForEach-Object { $_.Extent.Text })
    # PowerShell drops an empty argument, so it is said otherwise.
    $how = if ($wordToComplete) { @() } else { @('--empty') }
    $found = @(opsctl completion words @how -- @typed 2>$null | Where-Object { $_ })
    if ($found -and $found[0] -ne ':files') {
        foreach ($line in $found) {
            $word, $help = $line -split ' ', 2
            if (-not $help) { $help = $word }
            [System.Management.Automation.CompletionResult]::new(
                $word, $word, 'ParameterValue', $help)
        }
    }
}
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH, "powershell": _POWERSHELL}
