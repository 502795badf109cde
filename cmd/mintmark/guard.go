package main

import (
	"net/netip"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"mintmark/internal/config"
	"mintmark/internal/edge"
	"mintmark/internal/gateway"
	"mintmark/internal/gateway/extauthz"
	"mintmark/internal/pathrule"
)

func (c *cli) guardCommand() *cobra.Command {
	var upstream, listen string
	cmd := local(&cobra.Command{
		Use: "guard", Short: "Run the server, and a gateway before an API", Args: exactly(0, 0),
		Long: "It is serve with a guard: a reverse proxy that lets nobody through to the API without a token, and tells the API\n" +
			"who calls. The console and Mintmark's own API stay at server.listen. What paths demand is in guard.rules,\n" +
			"what needs no token in guard.public_paths.",
		Example: c.example("manager guard --upstream http://127.0.0.1:9000", "manager guard --upstream http://127.0.0.1:9000 --listen 0.0.0.0:8080"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if upstream == "" {
				return fail(exitUsage, "usage", "which API? Name it with --upstream URL")
			}
			flags := map[string]string{config.GuardUpstream: upstream}
			if listen != "" {
				flags[config.GuardListen] = listen
			}
			return c.serve(cmd.Context(), flags)
		},
	})
	cmd.Flags().StringVar(&upstream, "upstream", "", "the API: http or https and a host")
	cmd.Flags().StringVar(&listen, "listen", "", "the address and port of the guard")
	return cmd
}

// guard makes the gateway of our own. Its listener bounds the header of a request
// and the time for it; a body and an answer may take as long as they move.
func (s *server) guard(g config.Gateways) (service, error) {
	upstream, err := url.Parse(g.GuardUpstream)
	if err != nil {
		return nil, err
	}
	handler, err := gateway.NewGuard(gateway.GuardConfig{
		Live: s.apart.guard(), Upstream: upstream, Patience: g.GuardTimeout, Log: s.log, Now: time.Now,
		Rules:             func() pathrule.Rules { return s.running.Settings().Gateways.GuardRules },
		KeepAuthorization: func() bool { return s.running.Settings().Gateways.GuardKeeps },
	})
	if err != nil {
		return nil, err
	}
	web := edge.Server(edge.Wrap(edge.Config{
		Log: s.log, Now: time.Now, NewID: requestID, TrustedProxies: s.proxies, Trace: s.trace(),
	}, handler), s.log, time.Now)
	web.ReadTimeout, web.WriteTimeout, web.DisableGeneralOptionsHandler = 0, 0, true
	return web, nil
}

func (s *server) extAuthz() (service, error) {
	return extauthz.New(extauthz.Config{
		Live: s.apart.extAuthz(), TrustedProxies: s.proxies, Ready: s.live.Ready, NewID: requestID, Log: s.log,
		Audience: s.running.Audience,
	})
}

func (k *core) proxies() []netip.Prefix { return k.running.Proxies() }
