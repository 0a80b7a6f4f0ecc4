package mmds

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const content = `{"a~b":{"c/d":"tilde"},"age":43,"list":["x",{"y":1.50}],"name":{"first":"<J>","last":null},"empty":{},"z":[]}`

// feed makes a service that listens nowhere, and the end of a stream that tells it of the MMDS.
func feed(t *testing.T, first string) (*Service, *io.PipeWriter, <-chan error) {
	t.Helper()
	told := make(chan net.IP, 1)
	s := New()
	s.listen = func(address net.IP) (net.Listener, error) {
		told <- address
		return net.Listen("tcp4", "127.0.0.1:0")
	}
	ended := make(chan error, 1)
	stream, host := io.Pipe()
	go func() { ended <- s.Feed(stream) }()
	t.Cleanup(func() {
		host.Close()
		if listener := listenerOf(s); listener != nil {
			listener.Close()
		}
	})
	io.WriteString(host, first+"\n")
	select {
	case address := <-told:
		if address.String() != "169.254.169.254" {
			t.Fatalf("listens at %s", address)
		}
	case err := <-ended:
		ended <- err
	}
	return s, host, ended
}

func listenerOf(s *Service) net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener
}

func line(version, data string) string {
	return `{"version":"` + version + `","address":"169.254.169.254","imdsCompat":false,"data":` + data + `}`
}

func ask(s *Service, method, target string, headers ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, "http://169.254.169.254/", nil)
	request.RequestURI = target
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response := httptest.NewRecorder()
	s.ServeHTTP(response, request)
	return response
}

func expect(t *testing.T, response *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	if response.Code != status || response.Body.String() != body {
		t.Errorf("%d %q, want %d %q", response.Code, response.Body, status, body)
	}
}

func TestValuesByTheirPaths(t *testing.T) {
	s, _, _ := feed(t, line("V1", content))
	for _, c := range []struct {
		target, accept string
		status         int
		body           string
	}{
		{"/", "application/json", 200, content},
		{"/", "", 200, "age\na~b/\nempty/\nlist\nname/\nz"},
		{"/", "*/*", 200, "age\na~b/\nempty/\nlist\nname/\nz"},
		{"http://169.254.169.254//name///", "text/plain", 200, "first\nlast"},
		{"/name/first", "text/plain", 200, "<J>"},
		{"/name/first/", "application/json", 200, `"<J>"`},
		{"/a~0b/c~1d", "", 200, "tilde"},
		{"/list/1/y", "application/json", 200, "1.50"},
		{"/empty", "", 200, ""},
		{"/age", "", 501, "Cannot retrieve value. The value has an unsupported type."},
		{"/name/last", "", 501, "Cannot retrieve value. The value has an unsupported type."},
		{"/list/01", "application/json", 404, "Resource not found: /list/01."},
		{"/list/2", "", 404, "Resource not found: /list/2."},
		{"//age/x", "", 404, "Resource not found: //age/x."},
		{"/age?x=1", "", 404, "Resource not found: /age?x=1."},
		{"http://169.254.169.254", "", 400, "Invalid URI."},
	} {
		response := ask(s, "GET", c.target, "Accept", c.accept)
		expect(t, response, c.status, c.body)
		want := "text/plain"
		if c.accept == "application/json" && c.status == 200 {
			want = c.accept
		}
		if got := response.Header().Get("Content-Type"); got != want {
			t.Errorf("%s: type %s", c.target, got)
		}
	}
}

func TestOtherMethods(t *testing.T) {
	s, _, _ := feed(t, line("V1", content))
	for _, method := range []string{"PATCH", "DELETE"} {
		response := ask(s, method, "/")
		expect(t, response, 405, "Not allowed HTTP method.")
		if allow := response.Header().Get("Allow"); allow != "GET, PUT" {
			t.Errorf("Allow: %s", allow)
		}
	}
	expect(t, ask(s, "POST", "/"), 501, "Unsupported HTTP method.")
	withBody := httptest.NewRequest("GET", "/", strings.NewReader("body"))
	response := httptest.NewRecorder()
	s.ServeHTTP(response, withBody)
	expect(t, response, 400, "Invalid request.")
}

func TestIMDSIgnoresTheAcceptHeader(t *testing.T) {
	s, _, _ := feed(t, strings.Replace(line("V1", content), "false", "true", 1))
	response := ask(s, "GET", "/name", "Accept", "application/json")
	expect(t, response, 200, "first\nlast")
	if got := response.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("type %s", got)
	}
}

func TestATokenIsAskedForByV2Alone(t *testing.T) {
	v1, _, _ := feed(t, line("V1", content))
	expect(t, ask(v1, "GET", "/name/first", "X-metadata-token", "wrong"), 200, "<J>")
	if response := ask(v1, "PUT", tokenPath, "X-metadata-token-ttl-seconds", "60"); response.Code != 200 {
		t.Errorf("%d", response.Code)
	}

	v2, _, _ := feed(t, line("V2", content))
	expect(t, ask(v2, "GET", "/name/first"), 401,
		"No MMDS token provided. Use `X-metadata-token` or `X-aws-ec2-metadata-token` header to specify the session token.")
	expect(t, ask(v2, "GET", "/nothing", "X-metadata-token", "wrong"), 401, "MMDS token not valid.")
	for _, prefix := range []string{"X-metadata", "X-aws-ec2-metadata"} {
		response := ask(v2, "PUT", "/latest//api/token", prefix+"-token-ttl-seconds", "21600")
		if got := response.Header()[prefix+"-token-ttl-seconds"]; response.Code != 200 || len(got) != 1 || got[0] != "21600" {
			t.Errorf("%d %v", response.Code, response.Header())
		}
		token := response.Body.String()
		expect(t, ask(v2, "GET", "/name/first", prefix+"-token", token), 200, "<J>")
		expect(t, ask(v2, "GET", "/nothing", prefix+"-token", token), 404, "Resource not found: /nothing.")
		expect(t, ask(v1, "GET", "/name/first", prefix+"-token", token), 200, "<J>")
		forged := []byte(token)
		forged[0] ^= 1
		expect(t, ask(v2, "GET", "/name/first", prefix+"-token", string(forged)), 401, "MMDS token not valid.")
	}
}

func TestTokenRefusals(t *testing.T) {
	s, _, _ := feed(t, line("V2", content))
	const ttl = "X-metadata-token-ttl-seconds"
	expect(t, ask(s, "PUT", tokenPath), 400,
		"Token time to live value not found. Use `X-metadata-token-ttl-seconds` or `X-aws-ec2-metadata-token-ttl-seconds` header to specify the token's lifetime.")
	for _, value := range []string{"0", "21601"} {
		expect(t, ask(s, "PUT", tokenPath, ttl, value), 400,
			"Invalid time to live value provided for token: "+value+". Please provide a value between 1 and 21600.")
	}
	for _, value := range []string{"", "-1", "1.5", "4294967296"} {
		expect(t, ask(s, "PUT", tokenPath, ttl, value), 400,
			"Invalid header. Reason: Invalid value. Key:X-metadata-token-ttl-seconds; Value:"+value)
	}
	expect(t, ask(s, "PUT", "/name", ttl, "60"), 404, "Resource not found: /name.")
	expect(t, ask(s, "PUT", "/name", ttl, "60", "X-Forwarded-For", "10.0.0.1"), 400,
		"Invalid header. Reason: Unsupported header name. Key: X-Forwarded-For")
}

func TestATokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authority := newTokenAuthority()
		token := authority.issue(2 * time.Second)
		time.Sleep(2*time.Second - 1)
		if !authority.isValid(token) {
			t.Error("not valid")
		}
		time.Sleep(1)
		if authority.isValid(token) {
			t.Error("still valid")
		}
		if newTokenAuthority().isValid(authority.issue(time.Hour)) {
			t.Error("valid for another")
		}
	})
}

func TestTheEndOfTheStreamTakesContentAndTokensAway(t *testing.T) {
	s, host, ended := feed(t, line("V2", content))
	token := ask(s, "PUT", tokenPath, "X-metadata-token-ttl-seconds", "60").Body.String()
	host.CloseWithError(errors.New("the connection has ended"))
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	expect(t, ask(s, "GET", "/name/first", "X-metadata-token", token), 401, "MMDS token not valid.")
	token = ask(s, "PUT", tokenPath, "X-metadata-token-ttl-seconds", "60").Body.String()
	expect(t, ask(s, "GET", "/name/first", "X-metadata-token", token), 404, "Resource not found: /name/first.")
}

func TestTheLastStreamTells(t *testing.T) {
	s, old, oldEnded := feed(t, line("V1", `"old"`))
	stream, host := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- s.Feed(stream) }()
	io.WriteString(host, line("V1", `"new"`)+"\n"+line("V1", `"newer"`)+"\n")
	io.WriteString(host, " ") // is read when the lines before it have been
	expect(t, ask(s, "GET", "/"), 200, "newer")
	io.WriteString(old, line("V1", `"late"`)+"\n")
	old.Close()
	<-oldEnded
	expect(t, ask(s, "GET", "/"), 200, "newer")
	host.Close()
	<-ended
}

func TestDocumentsThatAreRefused(t *testing.T) {
	for _, bad := range []string{"{", `{}`, line("V3", "1"), strings.Replace(line("V1", "1"), "169.", "x", 1)} {
		if _, _, ended := feed(t, bad); <-ended == nil {
			t.Errorf("%s: taken", bad)
		}
	}
}

func TestItListensAndAnswersOverTCP(t *testing.T) {
	s, _, _ := feed(t, line("V1", content))
	expectBody := func(body string) {
		t.Helper()
		response, err := http.Get("http://" + listenerOf(s).Addr().String() + "/name/first")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if got, _ := io.ReadAll(response.Body); string(got) != body {
			t.Errorf("%q", got)
		}
	}
	expectBody("<J>")
	expectBody("<J>")
}
