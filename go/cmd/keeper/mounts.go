package main

import (
	"encoding/json"
	"net/http"

	"smartvm.dev/go/internal/jail"
)

// maxMountBody bounds the body of PUT and DELETE /mounts, in bytes: a path has at most 4096, each written with up to 6.
const maxMountBody = 32 << 10

func (a *api) putMount(w http.ResponseWriter, r *http.Request) {
	a.changeMounts(w, r, (*jail.Running).Mount)
}

func (a *api) deleteMount(w http.ResponseWriter, r *http.Request) {
	a.changeMounts(w, r, func(view *jail.Running, mount jail.Mount) error { return view.Unmount(mount.Path) })
}

func (a *api) changeMounts(w http.ResponseWriter, r *http.Request, change func(*jail.Running, jail.Mount) error) {
	var mount jail.Mount
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxMountBody)).Decode(&mount); err != nil {
		refuseMount(w, &jail.Fault{Code: jail.Failed, Message: "The body is not a mount: " + err.Error()})
		return
	}
	if a.vmm.jail == nil {
		refuseMount(w, &jail.Fault{Code: jail.Failed, Message: "The VMM is not jailed: it has the host's mounts"})
		return
	}
	if err := change(a.vmm.jail.view, mount); err != nil {
		refuseMount(w, jail.AsFault(err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func refuseMount(w http.ResponseWriter, why *jail.Fault) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	json.NewEncoder(w).Encode(map[string]string{"fault_message": why.Message, "code": why.Code})
}
