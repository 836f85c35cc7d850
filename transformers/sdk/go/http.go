package penstock

// Request is an HTTP request; its body may be nil.
type Request struct {
	Method  string
	URL     string
	Headers [][2]string
	Body    []byte
}

// Response is what came back.
type Response struct {
	Status  int
	Headers [][2]string
	Body    []byte
}

// HTTP sends a request and waits for the response. Needs `network-client`.
func HTTP(request Request) (*Response, error) {
	answer, err := ask(hostHTTPRequest, request.appendTo(nil))
	if err != nil {
		return nil, err
	}
	response := readResponse(&answer)
	if answer.bad {
		return nil, errAnswer
	}
	return response, nil
}

func (r *Request) appendTo(out []byte) []byte {
	out = appendMapHead(out, 4)
	out = appendText(appendText(out, "method"), r.Method)
	out = appendText(appendText(out, "url"), r.URL)
	out = appendArrayHead(appendText(out, "headers"), len(r.Headers))
	for _, header := range r.Headers {
		out = appendText(appendText(appendArrayHead(out, 2), header[0]), header[1])
	}
	return appendBytes(appendText(out, "body"), r.Body)
}

func readResponse(r *reader) *Response {
	response := &Response{}
	for left := r.length(Object); left > 0 && !r.bad; left-- {
		switch string(r.text()) {
		case "status":
			response.Status = int(r.integer())
		case "headers":
			response.Headers = readPairs(r)
		case "body":
			response.Body = append([]byte{}, r.bytes()...)
		default:
			r.skip()
		}
	}
	return response
}

func readPairs(r *reader) (pairs [][2]string) {
	for left := r.length(Array); left > 0 && !r.bad; left-- {
		if r.length(Array) != 2 {
			r.bad = true
		}
		pairs = append(pairs, [2]string{string(r.text()), string(r.text())})
	}
	return pairs
}
