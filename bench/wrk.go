package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// besideWrk holds the load of our own against a well-known one: both ask the bare
// 204 in turn, over as many connections, from the same core.
func (p plan) besideWrk(ctx context.Context, o opened) error {
	const name = "the load itself"
	if !p.only.MatchString(name) {
		return nil
	}
	r := row{Section: "doors", What: name, Beside: "wrk, both asking a bare 204", Measure: "rate"}
	program, err := exec.LookPath("wrk")
	if err != nil {
		r.Context = "not measured: wrk is not installed"
		write(r)
		return nil
	}
	asked := target{o.Addresses["204"], o.each(forwardAuth), speakHTTP}
	var own, other []float64
	for range p.turns {
		t, err := drive(ctx, asked, p.connections, p.turn)
		if err != nil {
			return err
		}
		text, err := exec.CommandContext(ctx, program, "-t", "1", "-c", strconv.Itoa(p.connections), "-d", fmt.Sprintf("%ds", max(1, int(p.turn.Seconds()))),
			"-H", "X-Forwarded-For: 192.0.2.7", "-H", "X-Forwarded-Method: GET", "-H", "X-Forwarded-Uri: /items", "-H", "Authorization: Bearer "+o.Tokens[0],
			"http://"+o.Addresses["204"]+"/auth/verify").Output()
		if err != nil {
			return fmt.Errorf("wrk: %w", err)
		}
		found := regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`).FindSubmatch(text)
		if found == nil {
			return fmt.Errorf("wrk says %q", text)
		}
		rate, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			return err
		}
		own, other = append(own, t.rate), append(other, rate)
	}
	same := func(v float64) float64 { return v }
	r.Spread = spreadOf(own, other, same)
	r.Context = fmt.Sprintf("%.1fk/s · %.1fk/s", spreadIn(own, same).Middle/1000, spreadIn(other, same).Middle/1000)
	write(r)
	return nil
}
