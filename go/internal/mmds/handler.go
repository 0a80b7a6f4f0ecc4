package mmds

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	tokenPath = "/latest/api/token"

	plainText = "text/plain"
	jsonType  = "application/json"
)

// The names of headers in Firecracker's spelling, and EC2's for the same.
var (
	tokenHeaders = []string{"X-metadata-token", "X-aws-ec2-metadata-token"}
	ttlHeaders   = []string{"X-metadata-token-ttl-seconds", "X-aws-ec2-metadata-token-ttl-seconds"}
	proxyHeaders = []string{"X-Forwarded-For"}
)

type answer struct {
	status      int
	contentType string
	body        string
}

func refusal(status int, format string, args ...any) answer {
	return answer{status, plainText, fmt.Sprintf(format, args...)}
}

// ServeHTTP answers a request of the guest with Firecracker's statuses and words.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	response := s.respond(header, r)
	header["Date"] = nil
	header.Set("Server", "Firecracker API")
	header.Set("Content-Type", response.contentType)
	header.Set("Content-Length", strconv.Itoa(len(response.body)))
	w.WriteHeader(response.status)
	w.Write([]byte(response.body))
}

func (s *Service) respond(header http.Header, r *http.Request) answer {
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return answer{http.StatusNotImplemented, jsonType, "Unsupported HTTP method."}
	}
	if r.ContentLength > 0 {
		return answer{http.StatusBadRequest, jsonType, "Invalid request."}
	}
	path := absolutePath(r.RequestURI)
	if path == "" {
		return refusal(http.StatusBadRequest, "Invalid URI.")
	}
	switch r.Method {
	case http.MethodGet:
		return s.get(path, r.Header)
	case http.MethodPut:
		return s.put(path, r.Header, header)
	}
	header.Set("Allow", "GET, PUT")
	return refusal(http.StatusMethodNotAllowed, "Not allowed HTTP method.")
}

func (s *Service) get(path string, request http.Header) answer {
	current, tokens := s.snapshot()
	if current.Version == "V2" {
		_, token, ok := lookUp(request, tokenHeaders)
		if !ok {
			return refusal(http.StatusUnauthorized,
				"No MMDS token provided. Use `X-metadata-token` or `X-aws-ec2-metadata-token` header to specify the session token.")
		}
		if !tokens.isValid(token) {
			return refusal(http.StatusUnauthorized, "MMDS token not valid.")
		}
	}
	value, err := find(current.Data, pointer(path))
	if err != nil {
		return notFound(path)
	}
	contentType := accepted(request)
	if contentType == jsonType && !current.IMDSCompat {
		return answer{http.StatusOK, contentType, string(value)}
	}
	text, err := formatIMDS(value)
	if err != nil {
		return refusal(http.StatusNotImplemented, "%v", err)
	}
	return answer{http.StatusOK, contentType, text}
}

// put hands out a token, which is all that can be put.
func (s *Service) put(path string, request, response http.Header) answer {
	if name, _, ok := lookUp(request, proxyHeaders); ok {
		return refusal(http.StatusBadRequest, "Invalid header. Reason: Unsupported header name. Key: %s", name)
	}
	if pointer(path) != tokenPath {
		return notFound(path)
	}
	name, value, ok := lookUp(request, ttlHeaders)
	if !ok {
		return refusal(http.StatusBadRequest,
			"Token time to live value not found. Use `X-metadata-token-ttl-seconds` or `X-aws-ec2-metadata-token-ttl-seconds` header to specify the token's lifetime.")
	}
	ttl, err := strconv.ParseUint(strings.TrimPrefix(value, "+"), 10, 32)
	if err != nil {
		return refusal(http.StatusBadRequest, "Invalid header. Reason: Invalid value. Key:%s; Value:%s", name, value)
	}
	if ttl < minTTL || ttl > maxTTL {
		return refusal(http.StatusBadRequest,
			"Invalid time to live value provided for token: %d. Please provide a value between %d and %d.", ttl, minTTL, maxTTL)
	}
	_, tokens := s.snapshot()
	// The header's own spelling, not Go's.
	response[name] = []string{strconv.FormatUint(ttl, 10)}
	return answer{http.StatusOK, plainText, tokens.issue(time.Duration(ttl) * time.Second)}
}

func notFound(path string) answer {
	return refusal(http.StatusNotFound, "Resource not found: %s.", path)
}

// absolutePath answers the path of a request's target, its query included, or "".
func absolutePath(target string) string {
	if rest, ok := strings.CutPrefix(target, "http://"); ok {
		if slash := strings.IndexByte(rest, '/'); slash >= 0 {
			return rest[slash:]
		}
		return ""
	}
	if strings.HasPrefix(target, "/") {
		return target
	}
	return ""
}

// pointer makes a JSON pointer of a path: several slashes stand for one.
func pointer(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// lookUp answers the first of some headers that is there, and its last value.
func lookUp(header http.Header, names []string) (name, value string, ok bool) {
	for _, name := range names {
		if values := header.Values(name); len(values) > 0 {
			return name, values[len(values)-1], true
		}
	}
	return "", "", false
}

// accepted answers the type to respond with: what is not known is ignored.
func accepted(header http.Header) string {
	contentType := plainText
	for _, value := range header.Values("Accept") {
		if value == plainText || value == jsonType {
			contentType = value
		}
	}
	return contentType
}
