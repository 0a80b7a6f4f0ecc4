package mmds

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"time"
)

const (
	// How long a token may be valid, in seconds.
	minTTL = 1
	maxTTL = 21600
	// A nonce, an expiry and a tag.
	tokenBytes = 12 + 8 + 16
)

// tokenAuthority hands out tokens that carry their own expiry, sealed with a key that nobody else has: however many a
// guest asks for, there is nothing to remember.
type tokenAuthority struct {
	seal  cipher.AEAD
	since time.Time
}

func newTokenAuthority() *tokenAuthority {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &tokenAuthority{seal: seal, since: time.Now()}
}

func (a *tokenAuthority) issue(ttl time.Duration) string {
	expiry := binary.LittleEndian.AppendUint64(nil, uint64(time.Since(a.since)+ttl))
	return base64.StdEncoding.EncodeToString(a.seal.Seal(nil, nil, expiry, nil))
}

func (a *tokenAuthority) isValid(token string) bool {
	if len(token) != base64.StdEncoding.EncodedLen(tokenBytes) {
		return false
	}
	sealed, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return false
	}
	expiry, err := a.seal.Open(nil, nil, sealed, nil)
	return err == nil && binary.LittleEndian.Uint64(expiry) > uint64(time.Since(a.since))
}
