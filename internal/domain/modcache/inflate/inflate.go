package inflate

import (
	"bytes"
	"compress/flate"
	"io"
)

// Slack is how many bytes beyond the contents the destination must have.
const Slack = 0

// Decoder inflates whole buffers.
type Decoder struct {
	r   io.ReadCloser
	src bytes.Reader
}

// Decode inflates src into dst[:size].
func (d *Decoder) Decode(dst []byte, size int, src []byte) error {
	d.src.Reset(src)
	if d.r == nil {
		d.r = flate.NewReader(&d.src)
	} else if err := d.r.(flate.Resetter).Reset(&d.src, nil); err != nil {
		return err
	}
	if _, err := io.ReadFull(d.r, dst[:size]); err != nil && err != io.EOF {
		return err
	}
	var one [1]byte
	if n, err := d.r.Read(one[:]); n != 0 || err != io.EOF {
		return io.ErrUnexpectedEOF
	}
	return nil
}
