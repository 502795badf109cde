package home

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

// Holder says who listens on a TCP address: "nginx (pid 812)", or "".
func Holder(address string) string {
	_, portText, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return ""
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if inode := listener(table, uint16(port)); inode != "" {
			return owner(inode)
		}
	}
	return ""
}

// listener finds the inode of a listening socket in the kernel's table.
func listener(table string, port uint16) string {
	data, err := os.ReadFile(table)
	if err != nil {
		return ""
	}
	const listening = "0A"
	want := fmt.Sprintf(":%04X", port)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) > 9 && strings.HasSuffix(f[1], want) && f[3] == listening {
			return f[9]
		}
	}
	return ""
}

func owner(inode string) string {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == "socket:["+inode+"]" {
			pid := strings.Split(link, "/")[2]
			name, _ := os.ReadFile(filepath.Join("/proc", pid, "comm"))
			return printable(string(name)) + " (pid " + pid + ")"
		}
	}
	return ""
}

// printable keeps what any process may call itself from steering a terminal.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.TrimSpace(name))
}
