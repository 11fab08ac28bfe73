// Package backend makes the router of a ModProxy. It is the only code that asks
// for spec.router.type.
//
// A ModProxy has one router at a time, and for a while the rest of a former one:
// when the type changes, clients still come through the old router until the new
// one serves. So a Router publishes the intent to both (a quarantined instance
// serves nowhere), and removes what a former router consists of once the present
// one has settled. An HTTPRoute goes at once, because the fields that it is made
// from went with the type; its name is recorded in the status before it is made,
// since a cluster need not have the kind, and nothing looks for it without need.
package backend
