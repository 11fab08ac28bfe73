package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	code, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "words:", err)
	}
	os.Exit(code)
}

// run checks the repository below the working directory and returns the exit code.
func run(args []string, out io.Writer) (int, error) {
	flags := flag.NewFlagSet("words", flag.ContinueOnError)
	rulesFile := flags.String("rules", "hack/words/rules.yaml", "file with the rules")
	scopes := flags.String("scopes", strings.Join(allScopes, ","), "scopes to check, separated by commas")
	summary := flags.Bool("summary", false, "print the number of findings per rule and scope instead of the findings")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "Usage: words [flags] [path prefix...]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2, err
	}
	rules, err := load(*rulesFile)
	if err != nil {
		return 2, err
	}
	texts, err := collect(os.DirFS("."), flags.Args())
	if err != nil {
		return 2, err
	}
	found := check(rules, texts, strings.Split(*scopes, ","))
	if *summary {
		summarize(out, found)
	} else {
		for _, f := range found {
			fmt.Fprintln(out, f)
		}
	}
	if len(found) > 0 {
		return 1, nil
	}
	return 0, nil
}

// summarize prints a table with a row per rule, a column per scope, and totals.
func summarize(out io.Writer, found []finding) {
	rows := map[string]map[string]int{}
	total := map[string]int{}
	for _, f := range found {
		if rows[f.rule.Term] == nil {
			rows[f.rule.Term] = map[string]int{}
		}
		rows[f.rule.Term][f.scope]++
		rows[f.rule.Term][""]++
		total[f.scope]++
		total[""]++
	}
	var terms []string
	for term := range rows {
		terms = append(terms, term)
	}
	slices.SortFunc(terms, func(a, b string) int {
		return cmp.Or(cmp.Compare(rows[b][""], rows[a][""]), cmp.Compare(a, b))
	})
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer func() { _ = w.Flush() }() // as with the lines: nothing is left to write to
	line := func(term string, counts map[string]int) {
		fmt.Fprintf(w, "%s\t", term)
		for _, scope := range append(slices.Clone(allScopes), "") {
			fmt.Fprintf(w, "%d\t", counts[scope])
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "rule\t%s\tall\t\n", strings.Join(allScopes, "\t"))
	for _, term := range terms {
		line(term, rows[term])
	}
	line("all", total)
}
