package usage

import (
	"net/netip"

	"mintmark/internal/authority"
)

// address is a client's address or network without a pointer: millions of them
// are nothing to the collector of garbage. The zero address is one that nobody
// told.
type address struct {
	ip   [16]byte
	bits uint8 // of the network, in IPv6; every for an address, rest for all others
}

const (
	every = 128
	rest  = 255
)

// others stands for every further source.
func others() address { return address{bits: rest} }

func addressOf(a netip.Addr, masked bool) address {
	switch {
	case !a.IsValid():
		return address{}
	case masked:
		return ofNetwork(authority.MaskAddress(a))
	}
	return address{a.Unmap().WithZone("").As16(), every}
}

func ofNetwork(p netip.Prefix) address {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return address{p.Addr().As16(), uint8(bits)}
}

// text is the address as it is kept and shown.
func (a address) text() string {
	switch a.bits {
	case 0:
		return authority.UnknownAddress
	case rest:
		return ""
	}
	ip, bits := netip.AddrFrom16(a.ip).Unmap(), int(a.bits)
	if a.bits == every {
		return ip.String()
	}
	if ip.Is4() {
		bits -= 96
	}
	return netip.PrefixFrom(ip, bits).String()
}

// readAddress is the address of a text; what is none was not told.
func readAddress(text string) address {
	if text == "" {
		return others()
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return addressOf(a, false)
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return ofNetwork(p)
	}
	return address{}
}

// place is where a request came from.
type place struct{ from, via address }

// viaText is "" for nobody between.
func (p place) viaText() string {
	if p.via.bits == 0 {
		return ""
	}
	return p.via.text()
}

func placeOf(from, via string) place {
	p := place{from: readAddress(from)}
	if via != "" {
		p.via = readAddress(via)
	}
	return p
}
