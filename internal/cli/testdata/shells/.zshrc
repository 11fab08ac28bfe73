# What a user has in zsh: its own completion, and the script of the program.
autoload -Uz compinit
compinit -u -D
source <(kubectl-gocache completion zsh)
PS1= PS2= RPS1=
show() { printf '<<%s>>' "$BUFFER" }
zle -N show
bindkey -e
bindkey '^Xp' show
printf '<<ready>>'
