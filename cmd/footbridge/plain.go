package main

import (
	"encoding"
	"fmt"
	"reflect"
	"time"
)

// plain returns v with texts in the place of addresses, prefixes, MACs and
// ports. Docker's templates have always seen texts there: an address that is
// not set prints as nothing, and {{index .NetworkSettings.Ports "80/tcp"}} finds
// its port. Names, tags and all other types stay; fields of embedded structs
// become fields of the struct they are embedded in.
func plain(v any) any {
	if v == nil {
		return nil
	}
	return toPlain(reflect.ValueOf(v)).Interface()
}

var (
	textType      = reflect.TypeFor[string]()
	marshalerType = reflect.TypeFor[encoding.TextMarshaler]()
	timeType      = reflect.TypeFor[time.Time]()
)

// isText reports whether values of t become texts.
func isText(t reflect.Type) bool {
	return t != timeType && t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && t.Implements(marshalerType)
}

// plainType returns the type that values of t get: t itself where there is
// nothing to do.
func plainType(t reflect.Type) reflect.Type {
	if isText(t) {
		return textType
	}
	switch t.Kind() {
	case reflect.Pointer:
		if e := plainType(t.Elem()); e != t.Elem() {
			return reflect.PointerTo(e)
		}
	case reflect.Slice, reflect.Array:
		if e := plainType(t.Elem()); e != t.Elem() {
			return reflect.SliceOf(e)
		}
	case reflect.Map:
		k, e := plainType(t.Key()), plainType(t.Elem())
		if k != t.Key() || e != t.Elem() {
			return reflect.MapOf(k, e)
		}
	case reflect.Struct:
		var fields []reflect.StructField
		changed := false
		for _, f := range flatFields(t) {
			e := plainType(f.Type)
			changed = changed || e != f.Type || len(f.Index) > 1
			fields = append(fields, reflect.StructField{Name: f.Name, Type: e, Tag: f.Tag})
		}
		if changed {
			return reflect.StructOf(fields)
		}
	}
	return t
}

// flatFields returns the exported fields of a struct, those of embedded structs
// in their place.
func flatFields(t reflect.Type) []reflect.StructField {
	if t == timeType {
		return nil
	}
	var fields []reflect.StructField
	for _, f := range reflect.VisibleFields(t) {
		if f.IsExported() && !f.Anonymous {
			fields = append(fields, f)
		}
	}
	return fields
}

func toPlain(v reflect.Value) reflect.Value {
	from := v.Type()
	if isText(from) {
		return reflect.ValueOf(textOf(v))
	}
	to := plainType(from)
	if to == from {
		return v
	}
	switch from.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return reflect.Zero(to)
		}
		p := reflect.New(to.Elem())
		p.Elem().Set(toPlain(v.Elem()))
		return p
	case reflect.Slice, reflect.Array:
		if from.Kind() == reflect.Slice && v.IsNil() {
			return reflect.Zero(to)
		}
		s := reflect.MakeSlice(to, v.Len(), v.Len())
		for i := range v.Len() {
			s.Index(i).Set(toPlain(v.Index(i)))
		}
		return s
	case reflect.Map:
		if v.IsNil() {
			return reflect.Zero(to)
		}
		m := reflect.MakeMapWithSize(to, v.Len())
		for it := v.MapRange(); it.Next(); {
			m.SetMapIndex(toPlain(it.Key()), toPlain(it.Value()))
		}
		return m
	case reflect.Struct:
		s := reflect.New(to).Elem()
		for i, f := range flatFields(from) {
			field, err := v.FieldByIndexErr(f.Index)
			if err != nil {
				continue // of an embedded struct that is not there
			}
			s.Field(i).Set(toPlain(field))
		}
		return s
	}
	return v
}

// textOf returns the text of a value: empty for the zero value, whose own
// String is often "invalid something".
func textOf(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return fmt.Sprint(v.Interface())
	}
	return string(text)
}
