package sshd

import (
	"errors"
	"io"
	"os"

	"github.com/pkg/sftp"
)

// ServeSFTP serves SFTP on standard input and output, in the working directory, until its input ends.
func ServeSFTP() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	stdio := struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout}
	server, err := sftp.NewServer(stdio, sftp.WithServerWorkingDirectory(dir), sftp.WithAllocator())
	if err != nil {
		return err
	}
	if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
