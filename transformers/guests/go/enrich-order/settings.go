package main

import "penstock"

// Settings are what the operator chose.
type Settings struct {
	Currency     string
	DropStatuses []string
	FlagAbove    Decimal
	FlagTopic    string
}

func settings(config *penstock.Config) Settings {
	s := Settings{
		Currency:     config.String("currency", ""),
		DropStatuses: config.Strings("drop_statuses"),
		FlagTopic:    config.String("flag_topic", ""),
	}
	if config.Has("currency") && !isCurrency(s.Currency) {
		config.Fault("currency", "is no ISO 4217 code: write three capital letters, such as EUR")
	}
	above := config.Digits("flag_above")
	if config.Has("flag_above") != config.Has("flag_topic") {
		config.Fault("flag_above", "and flag_topic go together: the total that must be exceeded, and where such orders go")
	}
	if above != "" {
		var err error
		if s.FlagAbove, err = ParseDecimal(above); err != nil {
			config.Fault("flag_above", "is no decimal number in quotes, such as \"10000.00\"")
		}
	}
	return s
}

func isCurrency(code string) bool {
	if len(code) != 3 {
		return false
	}
	for _, letter := range code {
		if letter < 'A' || letter > 'Z' {
			return false
		}
	}
	return true
}
