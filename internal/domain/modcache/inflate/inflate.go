// Package inflate decompresses DEFLATE data (RFC 1951) that is wholly in memory
// into a buffer of known size.
//
// Most of the time of a full check goes into inflating zips. The standard
// library's compress/flate reads byte by byte from a stream and keeps a window
// of its own, which it has to copy out; with both ends in memory neither is
// needed. This decoder accepts and rejects exactly what compress/flate does,
// and a fuzz test holds it to that.
package inflate

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// Slack is how many bytes the destination must have beyond the size of the
// contents: matches are copied in whole words, and may end behind the end.
const Slack = 288

// The ways in which data is no DEFLATE stream of the promised size.
var (
	ErrCorrupt = errors.New("corrupt deflate data")
	ErrShort   = errors.New("deflate data ends early")
	ErrSize    = errors.New("deflate data is not of the recorded size")
)

const (
	litBits  = 11 // index bits of the first-level tables
	distBits = 9
	maxBits  = 15
	numLit   = 286
	numDist  = 30
	endBlock = 256
)

// A table entry is the meaning of a run of bits:
//
//	bits 0–7    bits to consume; for a link, index bits of the second level
//	bits 8–12   extra bits of a length or distance
//	bit 13      a literal
//	bit 14      special: a link to a second-level table, the end, or invalid
//	bit 15      special: the end of the block
//	bits 16–31  literal, base of a length or distance, or second-level offset
const (
	literal = 1 << 13
	special = 1 << 14
	end     = 1 << 15
	invalid = special
	tables  = 1 << 12 // entries of a table with all its second levels
)

type table [tables]uint32

// Decoder holds the tables between calls.
type Decoder struct {
	lit, dist table
	fixedLit  *table
	fixedDist *table
	lengths   [numLit + numDist + 137]uint8
	bit       uint64 // bits read ahead, the next one lowest
	n         uint   // how many
	src       []byte
	at        int
	beyond    uint // zero bytes read ahead behind the end of src
}

// Decode inflates src into dst[:size]. dst must have [Slack] bytes more.
// Data behind the end of the stream is ignored.
func (d *Decoder) Decode(dst []byte, size int, src []byte) error {
	if len(dst) < size+Slack {
		return errors.New("inflate: the destination has no slack")
	}
	d.src, d.at, d.bit, d.n, d.beyond = src, 0, 0, 0, 0
	done, op := false, 0
	for !done {
		d.fill()
		done = d.bit&1 != 0
		kind := d.bit >> 1 & 3
		d.drop(3)
		var err error
		switch kind {
		case 0:
			op, err = d.stored(dst[:size], op)
		case 1:
			d.fixed()
			op, err = d.block(dst, op, size, d.fixedLit, d.fixedDist)
		case 2:
			if err = d.dynamic(); err == nil {
				op, err = d.block(dst, op, size, &d.lit, &d.dist)
			}
		default:
			err = ErrCorrupt
		}
		switch {
		case d.overrun():
			return ErrShort
		case err != nil:
			return err
		}
	}
	if op != size {
		return ErrSize
	}
	return nil
}

// fill reads ahead until at least 56 bits are there.
func (d *Decoder) fill() {
	if d.at+8 <= len(d.src) {
		d.bit |= binary.LittleEndian.Uint64(d.src[d.at:]) << d.n
		d.at += int((63 - d.n) >> 3) //nolint:gosec // at most 7
		d.n |= 56
		return
	}
	d.fillSlowly()
}

func (d *Decoder) fillSlowly() {
	for d.n <= 56 {
		if d.at < len(d.src) {
			d.bit |= uint64(d.src[d.at]) << d.n
			d.at++
		} else {
			d.beyond++
		}
		d.n += 8
	}
}

func (d *Decoder) drop(n uint) { d.bit >>= n; d.n -= n }

// overrun reports whether bits behind the end of the data were consumed.
func (d *Decoder) overrun() bool { return d.beyond*8 > d.n }

// stored copies a block that is not compressed.
func (d *Decoder) stored(dst []byte, op int) (int, error) {
	d.drop(d.n & 7)
	// Give back what was read ahead.
	if d.overrun() {
		return op, ErrShort
	}
	d.at -= int(d.n>>3 - d.beyond) //nolint:gosec // at most 8
	d.bit, d.n, d.beyond = 0, 0, 0
	if len(d.src)-d.at < 4 {
		return op, ErrShort
	}
	n := int(binary.LittleEndian.Uint16(d.src[d.at:]))
	if n != int(^binary.LittleEndian.Uint16(d.src[d.at+2:])) {
		return op, ErrCorrupt
	}
	d.at += 4
	switch {
	case len(d.src)-d.at < n:
		return op, ErrShort
	case len(dst)-op < n:
		return op, ErrSize
	}
	copy(dst[op:], d.src[d.at:d.at+n])
	d.at += n
	return op + n, nil
}

// codeOrder is the order in which the lengths of the code for lengths come.
var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamic reads the tables of a block.
func (d *Decoder) dynamic() error {
	d.fill()
	lits, dists, codes := int(d.bit&31)+257, int(d.bit>>5&31)+1, int(d.bit>>10&15)+4
	d.drop(14)
	if lits > numLit || dists > numDist {
		return ErrCorrupt
	}
	var order [19]uint8
	for i := range codes {
		if d.n < 3 {
			d.fill()
		}
		order[codeOrder[i]] = uint8(d.bit & 7)
		d.drop(3)
	}
	// The table for distances is not in use yet: it serves for lengths.
	if !d.dist.build(order[:], 7, lengthEntries) {
		return ErrCorrupt
	}
	if err := d.readLengths(lits + dists); err != nil {
		return err
	}
	if !d.lit.build(d.lengths[:lits], litBits, litEntries) || !d.dist.build(d.lengths[lits:lits+dists], distBits, distEntries) {
		return ErrCorrupt
	}
	return nil
}

func (d *Decoder) readLengths(total int) error {
	for i := 0; i < total; {
		d.fill()
		if d.overrun() {
			return ErrShort
		}
		e := d.dist[d.bit&127]
		if e&special != 0 {
			return ErrCorrupt
		}
		d.drop(uint(e & 255))
		sym := e >> 16
		if sym < 16 {
			d.lengths[i] = uint8(sym)
			i++
			continue
		}
		var value uint8
		var times int
		switch sym {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			value, times = d.lengths[i-1], 3+int(d.bit&3)
			d.drop(2)
		case 17:
			times = 3 + int(d.bit&7)
			d.drop(3)
		default:
			times = 11 + int(d.bit&127)
			d.drop(7)
		}
		if i+times > total {
			return ErrCorrupt
		}
		for range times {
			d.lengths[i] = value
			i++
		}
	}
	return nil
}

// litEntry is the meaning of a symbol of the literal and length alphabet.
func litEntry(sym int) uint32 {
	switch {
	case sym < endBlock:
		return literal | uint32(sym)<<16 //nolint:gosec // below 256
	case sym == endBlock:
		return special | end
	case sym >= numLit:
		return invalid
	case sym == 285:
		return 258 << 16
	case sym < 265:
		return uint32(sym-254) << 16 //nolint:gosec // small
	}
	extra := uint32(sym-261) / 4                           //nolint:gosec // small
	return (3+(4+uint32(sym-261)&3)<<extra)<<16 | extra<<8 //nolint:gosec // small
}

// distEntry is the meaning of a symbol of the distance alphabet.
func distEntry(sym int) uint32 {
	switch {
	case sym >= numDist:
		return invalid
	case sym < 4:
		return uint32(sym+1) << 16 //nolint:gosec // small
	}
	extra := uint32(sym-2) / 2                         //nolint:gosec // small
	return (1+(2+uint32(sym)&1)<<extra)<<16 | extra<<8 //nolint:gosec // small
}

// The meanings of all symbols.
var litEntries, distEntries, lengthEntries = meanings(288, litEntry), meanings(32, distEntry), meanings(19, lengthEntry)

func meanings(n int, of func(int) uint32) []uint32 {
	list := make([]uint32, n)
	for sym := range list {
		list[sym] = of(sym)
	}
	return list
}

// lengthEntry is the meaning of a symbol of the alphabet of code lengths.
func lengthEntry(sym int) uint32 { return uint32(sym) << 16 } //nolint:gosec // below 19

// build makes the table of a canonical code. It refuses over-subscribed and
// incomplete codes, but for one code of one bit and for no code at all, as
// compress/flate does.
//
// Most files are small, so making tables takes as long as using them. The
// table grows by doubling: codes of n bits are put into a table of 1<<n
// entries, which is then copied to make room for codes of n+1 bits.
func (t *table) build(lengths []uint8, index uint, entries []uint32) bool {
	var count, at [maxBits + 2]int
	for _, n := range lengths {
		count[n]++
	}
	longest := maxBits
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	code := 0
	for n := 1; n <= longest; n++ {
		at[n+1] = at[n] + count[n]
		code = code<<1 + count[n]
	}
	if longest > 0 && code != 1<<longest && (code != 1 || longest != 1) {
		return false
	}
	var sorted [numLit + 2]uint16 // by length, then symbol
	for sym, n := range lengths {
		if n != 0 {
			sorted[at[n]] = uint16(sym) //nolint:gosec // below 288
			at[n]++
		}
	}
	code, k := 0, 0
	t[0] = invalid
	for n := uint(1); n <= index; n++ {
		half := 1 << (n - 1)
		copy(t[half:2*half], t[:half])
		for range count[n] {
			t[reverse(code, n)] = entries[sorted[k]] | uint32(n) //nolint:gosec // at most 11
			code++
			k++
		}
		code <<= 1
	}
	return t.secondLevels(count[:], sorted[k:], code, index, uint(longest), entries) //nolint:gosec // at most 15
}

// secondLevels adds the codes that are longer than the index. All codes with
// the same first bits share a second level, as deep as the longest code.
func (t *table) secondLevels(count []int, sorted []uint16, code int, index, longest uint, entries []uint32) bool {
	if longest <= index {
		return true
	}
	depth, free, k := longest-index, 1<<index, 0
	for n := index + 1; n <= longest; n++ {
		for range count[n] {
			reversed := reverse(code, n)
			first := reversed & (1<<index - 1)
			if t[first] == invalid {
				if free+1<<depth > tables {
					return false
				}
				t[first] = special | literal | uint32(free)<<16 | uint32(depth) //nolint:gosec // bounded above
				for i := range 1 << depth {
					t[free+i] = invalid
				}
				free += 1 << depth
			}
			base, e := uint(t[first]>>16), entries[sorted[k]]|uint32(n-index) //nolint:gosec // at most 8
			for i := reversed >> index; i < 1<<depth; i += 1 << (n - index) {
				t[base+i] = e
			}
			code++
			k++
		}
		code <<= 1
	}
	return true
}

// reverse is the n lowest bits of a code, the first one lowest.
func reverse(code int, n uint) uint { return uint(bits.Reverse16(uint16(code))) >> (16 - n) } //nolint:gosec // at most 15 bits

// fixed makes the tables that need no description.
func (d *Decoder) fixed() {
	if d.fixedLit != nil {
		return
	}
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	d.fixedLit, d.fixedDist = new(table), new(table)
	d.fixedLit.build(lengths[:], litBits, litEntries)
	for i := range 32 {
		lengths[i] = 5
	}
	d.fixedDist.build(lengths[:32], distBits, distEntries)
}

// block inflates a compressed block and returns where the output goes on.
//
// The state is kept in local variables, in registers. After each refill there
// are at least 56 bits: enough for three literals, or for a length and a
// distance with all their extra bits.
func (d *Decoder) block(dst []byte, op, size int, lit, dist *table) (int, error) {
	src, at, bit, n := d.src, d.at, d.bit, d.n
	var err error
loop:
	for {
		if at+8 <= len(src) {
			bit |= binary.LittleEndian.Uint64(src[at:]) << (n & 63)
			at += int((63 - n) >> 3) //nolint:gosec // at most 7
			n |= 56
		} else {
			d.at, d.bit, d.n = at, bit, n
			d.fillSlowly()
			at, bit, n = d.at, d.bit, d.n
			if d.overrun() {
				err = ErrShort
				break
			}
		}
		if op > size {
			err = ErrSize
			break
		}
		e := lit[bit&(1<<litBits-1)]
		if e&(literal|special) == literal {
			bit >>= e & 63
			n -= uint(e & 255)
			dst[op] = byte(e >> 16)
			op++
			e = lit[bit&(1<<litBits-1)]
			if e&(literal|special) == literal {
				bit >>= e & 63
				n -= uint(e & 255)
				dst[op] = byte(e >> 16)
				op++
				e = lit[bit&(1<<litBits-1)]
				if e&(literal|special) == literal {
					bit >>= e & 63
					n -= uint(e & 255)
					dst[op] = byte(e >> 16)
					op++
				}
			}
			continue
		}
		if e&special != 0 {
			if e&literal != 0 { // a link
				bit >>= litBits
				n -= litBits
				e = lit[(e>>16+uint32(bit)&(1<<(e&31)-1))&(tables-1)] //nolint:gosec // the low bits are meant
			}
			switch {
			case e&literal != 0:
				bit >>= e & 63
				n -= uint(e & 255)
				dst[op] = byte(e >> 16)
				op++
				continue
			case e&end != 0:
				bit >>= e & 63
				n -= uint(e & 255)
				break loop
			case e&special != 0:
				err = ErrCorrupt
				break loop
			}
		}
		bit >>= e & 63
		n -= uint(e & 255)
		extra := e >> 8 & 31
		length := int(e>>16) + int(bit&(1<<extra-1)) //nolint:gosec // at most 258
		bit >>= extra
		n -= uint(extra)

		e = dist[bit&(1<<distBits-1)]
		if e&special != 0 {
			if e&literal == 0 {
				err = ErrCorrupt
				break
			}
			bit >>= distBits
			n -= distBits
			e = dist[(e>>16+uint32(bit)&(1<<(e&31)-1))&(tables-1)] //nolint:gosec // the low bits are meant
			if e&special != 0 {
				err = ErrCorrupt
				break
			}
		}
		bit >>= e & 63
		n -= uint(e & 255)
		extra = e >> 8 & 31
		distance := int(e>>16) + int(bit&(1<<extra-1)) //nolint:gosec // at most 32768
		bit >>= extra
		n -= uint(extra)
		if distance > op {
			err = ErrCorrupt
			break
		}
		if op+length > size {
			err = ErrSize
			break
		}
		from := op - distance
		if distance >= 8 {
			// Word by word: a word never reads what it writes.
			for i := 0; i < length; i += 8 {
				binary.LittleEndian.PutUint64(dst[op+i:], binary.LittleEndian.Uint64(dst[from+i:]))
			}
			op += length
			continue
		}
		for i := range length {
			dst[op+i] = dst[from+i]
		}
		op += length
	}
	d.at, d.bit, d.n = at, bit, n
	return op, err
}
