package wire

// Chunks follows a chunked body and finds its data and its end. It takes
// nothing but the plain grammar: sizes of 1 to 15 hex digits, extensions of
// tokens and quoted strings without blanks, CRLF. Extensions are dropped,
// trailer fields kept. The zero value is at the beginning of a body.
type Chunks struct {
	state   chunkState
	left    int64 // of the chunk
	digits  int
	line    int // bytes of the current size line
	extra   int // bytes of all extensions and trailers
	fields  int
	named   bool // the name of an extension has begun
	trailer []byte
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtName
	chunkExtFirst // of a value
	chunkExtToken
	chunkExtQuoted
	chunkExtEscape
	chunkExtEnd // after a quoted value
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailerStart
	chunkTrailerName
	chunkTrailerValue
	chunkTrailerLF
	chunkEndLF
	chunkDone
)

// The limits of what surrounds the data.
const (
	maxChunkLine  = 256
	maxChunkExtra = 16 << 10
)

// Reset makes s ready for another body.
func (s *Chunks) Reset() { *s = Chunks{trailer: s.trailer[:0]} }

// Done reports whether the body's last byte was taken.
func (s *Chunks) Done() bool { return s.state == chunkDone }

// Next takes bytes of the body off b, up to the end of a piece of data. It
// returns the piece, how many bytes it took, and false if a byte must not be
// where it is. It takes nothing after the body's end.
func (s *Chunks) Next(b []byte) (data []byte, n int, ok bool) {
	for n < len(b) && s.state != chunkDone {
		if s.state == chunkData {
			k := int(min(int64(len(b)-n), s.left))
			data = b[n : n+k]
			if s.left -= int64(k); s.left == 0 {
				s.state = chunkDataCR
			}
			return data, n + k, true
		}
		if !s.step(b[n]) {
			return nil, n, false
		}
		n++
	}
	return nil, n, true
}

// Scan takes bytes of the body and returns how many of them belong to it.
func (s *Chunks) Scan(b []byte) (n int, ok bool) {
	for n < len(b) && s.state != chunkDone {
		_, k, ok := s.Next(b[n:])
		n += k
		if !ok {
			return n, false
		}
	}
	return n, true
}

func (s *Chunks) step(c byte) bool {
	if s.state >= chunkTrailerStart {
		return s.stepTrailer(c)
	}
	if s.line++; s.line > maxChunkLine {
		return false
	}
	switch s.state {
	case chunkSize:
		return s.stepSize(c)
	case chunkSizeLF:
		if c != '\n' {
			return false
		}
		s.line, s.digits = 0, 0
		s.state = chunkData
		if s.left == 0 {
			s.state = chunkTrailerStart
		}
		return true
	case chunkDataCR:
		s.state = chunkDataLF
		return c == '\r'
	case chunkDataLF:
		s.state, s.line = chunkSize, 0
		return c == '\n'
	}
	return s.stepExtension(c)
}

func (s *Chunks) stepSize(c byte) bool {
	if v := hexValue[c]; v >= 0 {
		s.digits++
		s.left = s.left<<4 | int64(v)
		return s.digits <= 15
	}
	return s.digits > 0 && s.endOfToken(c)
}

// endOfToken takes a byte after which a size or an extension is complete.
func (s *Chunks) endOfToken(c byte) bool {
	switch c {
	case '\r':
		s.state = chunkSizeLF
	case ';':
		s.state, s.named = chunkExtName, false
	default:
		return false
	}
	return true
}

func (s *Chunks) stepExtension(c byte) bool {
	if s.extra++; s.extra > maxChunkExtra {
		return false
	}
	switch s.state {
	case chunkExtName:
		switch {
		case isToken[c]:
			s.named = true
			return true
		case !s.named:
			return false
		case c == '=':
			s.state = chunkExtFirst
			return true
		}
		return s.endOfToken(c)
	case chunkExtFirst:
		if c == '"' {
			s.state = chunkExtQuoted
			return true
		}
		s.state = chunkExtToken
		return isToken[c]
	case chunkExtToken:
		return isToken[c] || s.endOfToken(c)
	case chunkExtQuoted:
		switch c {
		case '"':
			s.state = chunkExtEnd
		case '\\':
			s.state = chunkExtEscape
		}
		return !isCtl(c)
	case chunkExtEscape:
		s.state = chunkExtQuoted
		return !isCtl(c)
	}
	return s.endOfToken(c)
}

func (s *Chunks) stepTrailer(c byte) bool {
	if s.extra++; s.extra > maxChunkExtra {
		return false
	}
	if s.state < chunkEndLF && (s.state != chunkTrailerStart || c != '\r') {
		s.trailer = append(s.trailer, c)
	}
	switch s.state {
	case chunkTrailerStart:
		if c == '\r' {
			s.state = chunkEndLF
			return true
		}
		s.fields++
		s.state = chunkTrailerName
		return isToken[c] && s.fields <= MaxFields
	case chunkTrailerName:
		if c == ':' {
			s.state = chunkTrailerValue
			return true
		}
		return isToken[c]
	case chunkTrailerValue:
		if c == '\r' {
			s.state = chunkTrailerLF
			return true
		}
		return !isCtl(c)
	case chunkTrailerLF:
		s.state = chunkTrailerStart
		return c == '\n'
	}
	s.state = chunkDone
	return c == '\n'
}

// AppendTrailers appends the trailer lines that may be sent on: none that
// decides about framing, routing, identity or the connection.
func (s *Chunks) AppendTrailers(dst []byte) []byte {
	if s.state != chunkDone {
		return dst
	}
	return AppendTrailers(dst, s.trailer)
}

// AppendTrailers appends those of the given lines that may be sent on as
// trailers. The lines must be well formed.
func AppendTrailers(dst, lines []byte) []byte {
	for len(lines) > 0 {
		colon, end := 0, 0
		for lines[colon] != ':' {
			colon++
		}
		for lines[end] != '\n' {
			end++
		}
		if classify(lines[:colon]) == Other {
			dst = append(dst, lines[:end+1]...)
		}
		lines = lines[end+1:]
	}
	return dst
}

// AppendChunkHead appends the size line of a chunk of n bytes.
func AppendChunkHead(dst []byte, n int) []byte {
	const digits = "0123456789abcdef"
	var buf [16]byte
	i := len(buf)
	for {
		i--
		buf[i] = digits[n&15]
		if n >>= 4; n == 0 {
			break
		}
	}
	dst = append(dst, buf[i:]...)
	return append(dst, '\r', '\n')
}

// AppendLastChunk appends the end of a chunked body with the given trailer
// lines, if any.
func AppendLastChunk(dst, trailers []byte) []byte {
	dst = append(dst, "0\r\n"...)
	dst = append(dst, trailers...)
	return append(dst, '\r', '\n')
}

// hexValue holds the value of each hex digit, -1 for other bytes.
var hexValue = func() (t [256]int8) {
	for c := range t {
		t[c] = -1
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = int8(c - '0')
	}
	for c := 'a'; c <= 'f'; c++ {
		t[c], t[c-'a'+'A'] = int8(c-'a'+10), int8(c-'a'+10)
	}
	return t
}()
