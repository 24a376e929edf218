package app

import (
	"strconv"
	"time"

	"github.com/outrigger-proxy/outrigger/cmd/internal/config"
	"github.com/outrigger-proxy/outrigger/pgpool/admin"
)

// settingRows lists the settings for the console, without passwords. Values are as in PgBouncer's console, whose readers
// expect numbers: durations are in seconds, switches are 0 or 1.
func settingRows(cfg *config.Config) []admin.ConfigRow {
	switches := make(map[string]bool)
	for _, f := range config.Flags() {
		switches[f.Name()] = f.IsBool()
	}
	text := func(s config.Setting, value string) string {
		if switches[s.FlagName()] {
			return map[string]string{"on": "1", "off": "0"}[value]
		}
		if d, err := time.ParseDuration(value); err == nil {
			return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
		}
		return value
	}
	var rows []admin.ConfigRow
	for s, value := range cfg.Values {
		rows = append(rows, admin.ConfigRow{Key: s.Name, Value: text(s, value), Default: text(s, s.Default), Changeable: s.Reloadable()})
	}
	return rows
}
