package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// completionCap is how long a person may wait for what a shell offers, and
// starting is what the machine of a test may need beside it to run a program.
const (
	completionCap = 500 * time.Millisecond
	starting      = 10 * time.Second
)

// offers asks the home's manager as a completion script does.
func (h home) offers(t *testing.T, words ...string) []string {
	t.Helper()
	began := time.Now()
	got := h.run(t, append([]string{"__complete"}, words...)...)
	if took := time.Since(began); took > completionCap+starting {
		t.Errorf("%s: completion took %s", words, took)
	}
	if got.code != 0 || strings.Contains(got.err, "error") || strings.Contains(got.out, "eyJ") {
		t.Errorf("%s: exit code %d\n%s%s", words, got.code, got.out, got.err)
	}
	var names []string
	for line := range strings.Lines(got.out) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !strings.HasPrefix(name, ":") {
			names = append(names, name)
		}
	}
	return names
}

func TestCompletionOffersWhatThereIs(t *testing.T) {
	h := startHome(t)
	h.token(t, "nightly-report", "user", "--tag", "team:data")
	h.token(t, "leaked-report", "user")
	h.manager(t, "token", "delete", "leaked-report", "--leaked", "--yes")
	h.token(t, "late-report", "user")
	h.manager(t, "token", "delete", "late-report", "--yes")
	id := strings.Fields(h.manager(t, "token", "list", "--no-headers", "--columns", "full_id"))[0]
	for words, want := range map[string]string{
		"token delete ":                          "nightly-report",
		"token copy " + id[:6]:                   id,
		"token list --client-id ":                "nightly-report",
		"token list --tag ":                      "team:data",
		"token create --tag ":                    "team:data",
		"token create --role ":                   "verifier",
		"token list --state ":                    "expired",
		"config properties set ":                 "tokens.lifetime.max",
		"config properties set tokens.copy ":     "reauth",
		"config properties unset tokens.":        "tokens.copy",
		"key evidence --state ":                  "silent",
		"":                                       "token",
		"audit ":                                 "verify",
		"help token ":                            "usage",
		"help ":                                  "token",
		"key retire ":                            "", // no rotation is under way
		"token restore ":                         "late-report",
		"audit list --action ":                   "token.deleted",
		"audit list --target ":                   "late-report",
		"admin unlock ":                          "admin",
		"admin delete ":                          "admin",
		"admin reset-password ":                  "admin",
		"admin create ":                          "",
		"token list --columns ":                  "client_id",
		"token list --columns id,s":              "id,state",
		"audit list --columns ":                  "number",
		"doctor --columns ":                      "what_to_do",
		"token show x --columns ":                "",
		"token list -o ":                         "tsv",
		"completion ":                            "powershell",
		"config properties set log.level ":       "debug",
		"config properties set jwt.algorithm ED": "EdDSA",
	} {
		if want == "" {
			if offered := h.offers(t, strings.Split(words, " ")...); len(offered) > 0 {
				t.Errorf("%q: %q is offered", words, offered)
			}
			continue
		}
		h.comesToOffer(t, words, want)
	}
	if offered := h.offers(t, "token", "restore", ""); slices.Contains(offered, "leaked-report") {
		t.Errorf("what is deleted for good is offered to be restored: %q", offered)
	}
	if offered := h.offers(t, "token", "list", "--columns", "id,"); slices.Contains(offered, "id,id") {
		t.Errorf("a column is offered twice: %q", offered)
	}
	h.configure(t, "tokens.lifetime.default", "30d")
	h.configure(t, "tokens.lifetime.default", "40d")
	if offered := h.comesToOffer(t, "config rollback ", "1"); !slices.Equal(offered, []string{"2", "1"}) {
		t.Errorf("of the revisions %q are offered, newest first", offered)
	}
	h.manager(t, "key", "rotate", "--overlap", "1h")
	if offered := h.comesToOffer(t, "key retire ", h.keyOf(t, "previous")); len(offered) != 1 {
		t.Errorf("of the keys %q are offered", offered)
	}
}

// comesToOffer asks until want is among what is offered: a busy machine may not
// answer within the time that a person waits.
func (h home) comesToOffer(t *testing.T, words, want string) (offered []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q is offered behind %q", want, words), func() bool {
		offered = h.offers(t, strings.Split(words, " ")...)
		return slices.Contains(offered, want)
	})
	return offered
}

func TestCompletionIsSilentAndQuickWhenNobodyAnswers(t *testing.T) {
	h := install(t)
	if offered := h.offers(t, "token", "delete", ""); len(offered) > 0 {
		t.Errorf("a stopped server offers %q", offered)
	}
	t.Setenv("MINTMARK_TOKEN", "nobody's")
	silent, _ := silentServer(t)
	for name, url := range map[string]string{"silent": silent, "absent": "http://" + freeAddress(t), "no address": "nonsense"} {
		if offered := h.offers(t, "--server", url, "token", "delete", ""); len(offered) > 0 {
			t.Errorf("%s: %q is offered", name, offered)
		}
	}
}

// missing skips what needs a program that is not here; in continuous integration
// that is a failure.
func missing(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing", program)
	}
	t.Skipf("%s is missing: its completion was not tried", program)
}

// The scripts work in the shells that they are for: what a person sees after
// "manager token delete ni" and Tab.
func TestCompletionWorksInRealShells(t *testing.T) {
	h := startHome(t)
	h.token(t, "nightly-report", "user")
	// Without bash-completion: not every machine has it.
	const bash = `COMP_WORDS=(manager token delete ni); COMP_CWORD=3; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
source <(manager completion bash) && __start_manager && printf '%s\n' "${COMPREPLY[@]}"`
	const zsh = `autoload -Uz compinit && compinit -D -u
source <(manager completion zsh) && whence -w _manager && print -r -- ${_comps[manager]}`
	const fish = `manager completion fish | source; complete -C "manager token delete ni"`
	for shell, c := range map[string]struct{ script, want string }{
		"bash": {bash, "nightly-report"}, "zsh": {zsh, "_manager: function\n_manager"}, "fish": {fish, "nightly-report"},
	} {
		t.Run(shell, func(t *testing.T) {
			missing(t, shell)
			env := append(os.Environ(), fmt.Sprintf("PATH=%s:%s", h.dir, os.Getenv("PATH")), "HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
			eventually(t, c.want+" is offered", func() bool {
				command := exec.Command(shell, "-c", c.script)
				command.Env = env
				got := runs(t, command)
				if got.code != 0 {
					t.Fatalf("exit code %d:\n%s%s", got.code, got.out, got.err)
				}
				return strings.Contains(got.out, c.want)
			})
		})
	}
	if got := h.run(t, "completion", "powershell"); got.code != 0 || !strings.Contains(got.out, "Register-ArgumentCompleter -CommandName 'manager'") {
		t.Errorf("PowerShell's script: exit code %d\n%s", got.code, filepath.Base(got.out))
	}
}
