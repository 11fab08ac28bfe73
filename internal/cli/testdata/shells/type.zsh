# type.zsh SHELL LINE...: types each line and a tab into an interactive shell on a
# terminal, and prints what the line has become.
zmodload zsh/zpty
zpty shell "$1"
expect() {
  local text
  zpty -r -m shell text '*<<*>>*' || { print -ru2 -- "the shell has ended: $text"; exit 1 }
  text=${text##*<<}
  print -r -- "${text%%>>*}"
}
expect
for line in "${@:2}"; do
  zpty -w -n shell "$line"$'\t\x18p'
  expect
  zpty -w -n shell $'\x15'
done
zpty -d shell
