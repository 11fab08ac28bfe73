package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/cli/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var o doctor.Options
	var output string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what caches and proxies need, and print commands that correct what is wrong",
		Long: `Check the cluster, the operator, storage classes and drivers, your rights, and
network policies and objects of the namespace. Each finding has a command that
corrects it, or shows more. Exits with 1 if a check failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := knownFormat(output); err != nil {
				return err
			}
			c, namespace, err := a.connect()
			if err != nil {
				return err
			}
			clientset, err := a.clientset()
			if err != nil {
				return err
			}
			shown := a.activity(doctor.Subjects, true)
			if !a.interactive {
				shown.out = io.Discard // it takes seconds
			}
			o.Namespace, o.Progress = namespace, shown.begin
			report, err := doctor.Examine(cmd.Context(), c, clientset.Discovery(), o)
			shown.end()
			if err != nil {
				return err
			}
			text, err := a.renderDoctor(report, output)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(a.Out, text); err != nil {
				return err
			}
			if report.Failed() {
				return ErrReported
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "json or yaml")
	f.StringVar(&o.OperatorNamespace, "operator-namespace", "gocache-system", "namespace of the operator")
	return cmd
}

func (a *app) renderDoctor(r doctor.Report, output string) (string, error) {
	if shown, ok, err := encoded(output, r); ok {
		return shown, err
	}
	var b strings.Builder
	for i, section := range r.Sections {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(section.Name + "\n")
		for _, f := range section.Findings {
			var fix []string
			if f.Fix != "" {
				fix = []string{f.Fix}
			}
			a.finding(&b, "  ", f.Level, f.Message, fix...)
		}
	}
	return b.String(), nil
}
