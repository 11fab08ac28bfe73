// Package weights is the format of the weights that the operator sets for a
// router: the value of the key "weights.json" in a router's ConfigMap.
//
//	{
//	  "version": 1,
//	  "owner": "0b9f…",
//	  "generation": 7,
//	  "servers": {
//	    "blue":  {"state": "ready", "weight": 100},
//	    "green": {"state": "drain"},
//	    "red":   {"state": "down"}
//	  }
//	}
//
// version is 1. A reader refuses an unknown version, and keeps the weights that
// it has.
//
// owner identifies the writer: generations of different owners do not compare.
// It is the UID of the object that the router belongs to.
//
// generation grows by at least one with every change of the rest. A reader
// that has two sources takes the higher generation of the same owner.
//
// servers has one member for each server of the router, by name: a DNS-1035
// label of at most 40 characters. At most 64.
//
//   - ready: gets a share by its weight, 1 to 256, among all ready servers.
//   - drain: gets nothing new while any ready server works, may finish what it
//     began, and is the last resort before an error.
//   - down: never gets anything, and loses what is under way. This is the state of a quarantined server. weight is absent or 0 for both.
//
// The text is canonical: Format(Parse(text)) and Parse(Format(w)) change
// nothing but white space and the order of members. Unknown members, members
// given twice and trailing text are errors.
package weights
