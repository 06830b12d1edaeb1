// All that the page says, in English and, below it, in Russian: see docs/page.md.
export default `
title Intercom gateway
= Шлюз домофонии
form
  token
= Токен
  button
= Войти
  help
= Создаётся на шлюзе: intercom-gateway token add NAME. Хранится только в этой вкладке.
signIn
  empty Enter the token.
= Введите токен.
  malformed A token is at most 99 letters, digits, - and _, no spaces.
= В токене не больше 99 знаков: латинские буквы, цифры, - и _, без пробелов.
  wrong The gateway does not know this token. Is it complete?
= Шлюз не знает такого токена. Он введён целиком?
  slowed Too many wrong tokens from this address. Try again in {seconds} s.
= Слишком много неверных токенов. Повторите через {seconds} с.
  unreachable The gateway cannot be reached. Is this device in its network?
= Шлюз недоступен. Это устройство в его сети?
  revoked The token was revoked. Sign in with another one.
= Токен отозван. Войдите с другим.
  out You have signed out.
= Вы вышли.
  certificate The gateway’s certificate has this SHA-256 fingerprint. Compare it with what the browser shows: {print}
= Отпечаток SHA-256 сертификата. Сравните с тем, что показывает браузер: {print}
nav
  home Home
= Главная
  lines Lines
= Линии
  events Events
= События
  flats Flats
= Квартиры
  commissioning Commissioning
= Приёмка
phases
  connecting Connecting
= Соединение
  live Live
= На связи
  lost No connection.
= Нет связи.
  stopping The gateway is restarting.
= Шлюз перезапускается.
  full 16 others watch already. This page tries again by itself.
= Открыто уже 16 других страниц. Эта пробует снова сама.
  grey What is grey is from {time}.
= Серым показано то, что было в {time}.
views Views
= Разделы
newest Newest event
= Последнее событие
nothingYet Nothing has happened yet.
= Пока ничего не произошло.
upgraded If the gateway was upgraded, load the page again.
= Если шлюз обновлён, загрузите страницу заново.
wait One moment …
= Минуту …
since since {time}
= с {time}
asOf as of {time}
= по состоянию на {time}
showUtc Show times in UTC
= Показывать время в UTC
inItsWords In the gateway’s words
= Сообщение шлюза
token Token {token}
= Токен {token}
readOnly read-only
= только чтение
readOnlyReason This token is read-only: it may look and measure.
= Этот токен только для чтения: можно смотреть и измерять.
version version {version}
= версия {version}
signOut Sign out
= Выйти
copy Copy
= Копировать
copied Copied
= Скопировано
copyFailed Copy it by hand
= Скопируйте вручную
close Close
= Закрыть
cancel Cancel
= Отмена
ms ms
= мс
panelStates
  online O|Online
= С|На связи
  offline X|Offline
= Н|Нет связи
  insecure I|Insecure
= П|Не защищена
  unconfigured ?|Not configured
= ?|Не настроена
lineStates
  on_hook H|On hook
= Л|Трубка лежит
  off_hook L|Lifted
= С|Трубка снята
  door_button B|Door button
= К|Кнопка двери
  short S|Short circuit
= З|Замыкание
  break X|Broken
= О|Обрыв
  disabled –|Out of service
= –|Отключена
  unsupported U|Cannot be measured
= Н|Не измеряется
  busy T|In a call
= Р|Разговор
  unknown ?|Not known yet
= ?|Ещё не известно
health
  ok All is well.
= Всё в порядке.
  no_bus No bus is configured, so no door opens.|Add buses and panels, then reload.
= Шины не настроены, двери не открываются.|Добавьте шины и панели, затем reload.
  bus A bus does not work.|Plug its adapter in, correct “port”, or stop what else uses it.
= Шина не работает.|Подключите адаптер, исправьте «port» или остановите то, что занимает порт.
  panel_offline Does not answer, or something is missing.|The panel’s card says what to do.
= Не отвечает, или чего-то не хватает.|Что делать — в карточке панели.
  panel_insecure The secure channel does not come up.|The panel’s card says what to do.
= Защищённый канал не устанавливается.|Что делать — в карточке панели.
  panel_key There is no key that can be used.|Correct “secure_key_file”, or: panel pair NAME.
= Нет пригодного ключа.|Исправьте «secure_key_file» или: panel pair NAME.
  line_errors Answers are lost on the wire.|Check power and wiring, and termination.
= Ответы теряются на линии.|Проверьте питание и проводку, согласование.
  broker Events do not reach the cloud; they are kept here.|Doors go on working. Check the network and the broker.
= События не доходят до облака и хранятся здесь.|Двери работают. Проверьте сеть и брокер.
  sync Flats from the cloud were refused, or nobody sends them.|The last good ones are in force. Check the cloud.
= Квартиры из облака отклонены, или их никто не присылает.|Действуют последние верные. Проверьте облако.
  committed Somebody claims to have events that do not exist.|Check who may write “events/committed” and “status” at the broker.
= Кто-то заявляет о событиях, которых нет.|Проверьте, кто пишет в «events/committed» и «status».
  clock The clock is not synchronised.|Let NTP through. Expiry goes by the last known time.
= Часы не синхронизированы.|Пропустите NTP. Сроки считаются по последнему верному времени.
  timezone The time zone is not known.|Correct “timezone”.
= Часовой пояс не известен.|Исправьте «timezone».
  storage The disk does not work as it should.|Doors go on working. Free some space; check the disk.
= Диск работает не так, как должен.|Двери работают. Освободите место, проверьте диск.
  journal_opening The journal is being opened.|Wait: events are kept meanwhile.
= Журнал открывается.|Подождите: события пока сохраняются.
  journal_new A new journal was begun.|The old one is kept. A restart clears this.
= Начат новый журнал.|Старый сохранён. Перезапуск уберёт это сообщение.
  events_lost Events were lost.|Under Events, look for what happens too often.
= События утрачены.|Посмотрите в «Событиях», чего слишком много.
  certificate A certificate cannot be used, or ends soon.|Renew it; the self-signed one renews itself.
= Сертификат непригоден или истекает.|Обновите его; самоподписанный обновляется сам.
  endpoint The endpoint does not work as it should.|Free its port, or correct “listen” or tokens.json.
= API работает не так, как должен.|Освободите порт, исправьте «listen» или tokens.json.
troubles
  never_heard Not heard since the start.|Check power and wiring, address, baud rate and parity.
= Не слышно с самого запуска.|Проверьте питание и проводку, адрес, скорость и чётность.
  silent It has stopped answering.|Check power and wiring.
= Перестала отвечать.|Проверьте питание и проводку.
  no_link It answers, but no link is set up.|Look for a second device on its address; restart the panel.
= Отвечает, но связь не устанавливается.|Поищите второе устройство с её адресом; перезапустите панель.
  needs_secure_channel It demands a secure channel.|Set “secure_channel” to "required" or "install".
= Требует защищённого канала.|Задайте «secure_channel»: "required" или "install".
  no_key There is no key for it.|Name one in “secure_key_file”, or: panel pair NAME.
= Для неё нет ключа.|Укажите его в «secure_key_file» или: panel pair NAME.
  wrong_key It has another key.|Correct “secure_key_file”, or: panel pair NAME.
= У неё другой ключ.|Исправьте «secure_key_file» или: panel pair NAME.
  key_unusable Its key cannot be used.|Correct “secure_key_file”: 32 hex digits of its own.
= Её ключ непригоден.|Исправьте «secure_key_file»: 32 шестнадцатеричные цифры, свои.
  no_handshake It does not answer the handshake in time.|Check power and wiring; raise “reply_timeout”.
= Не успевает ответить на рукопожатие.|Проверьте питание и проводку; увеличьте «reply_timeout».
  no_secure_channel It refuses a secure channel.|Switch it on in the panel, or replace the panel.
= Отказывается от защищённого канала.|Включите его в панели или замените панель.
  no_default_key It cannot be paired.|Reset it to its factory state, or name its key in “secure_key_file”.
= Не привязывается.|Сбросьте её к заводским настройкам или укажите её ключ в «secure_key_file».
  pairing It is getting its own key.|Wait.
= Получает собственный ключ.|Подождите.
  key_not_stored Its new key cannot be written to the disk.|Check the disk.
= Её новый ключ не записывается на диск.|Проверьте диск.
  pairing_failed Pairing has failed ten times.|Restart the panel, then: panel pair NAME.
= Привязка не удалась десять раз.|Перезапустите панель, затем: panel pair NAME.
  no_randomness The system has no random numbers.|Restart the gateway.
= В системе нет случайных чисел.|Перезапустите шлюз.
  unreachable_at_rate The wire does not carry its baud rate.|Check power and wiring, and termination.
= Линия не держит её скорость.|Проверьте питание и проводку, согласование.
  no_such_input It lacks an input.|Correct “door”: inputs count from 0.
= У неё нет такого входа.|Исправьте «door»: входы считаются с 0.
  no_such_output It lacks an output.|Correct “lock”: outputs count from 0.
= У неё нет такого выхода.|Исправьте «lock»: выходы считаются с 0.
  reader_disconnected Its reader is not connected.|Check the reader’s cable.
= Считыватель не подключён.|Проверьте его кабель.
  other_model It is another model than its profile is for.|Check address and profile.
= Это не та модель, для которой её профиль.|Проверьте адрес и профиль.
  no_such_registers It lacks registers of its profile.|Check the profile.
= У неё нет регистров её профиля.|Проверьте профиль.
refusals
  ambiguous_panel The intercom has several locks.
= У домофона несколько замков.
  unknown_panel There is no such panel, or it has no lock.
= Такой панели нет, или у неё нет замка.
  unknown_flat No panel has a line for this flat.
= Ни у одной панели нет линии этой квартиры.
  panel_offline The panel does not answer.
= Панель не отвечает.
  insecure The panel is not connected securely.
= Панель подключена без защиты.
  unconfirmed The panel has not confirmed: nobody knows whether it was done.
= Панель не подтвердила: сделано ли, не известно.
  refused The panel cannot do that.
= Панель этого не умеет.
  interrupted The gateway is stopping: nothing was done.
= Шлюз останавливается: ничего не сделано.
  rate_limited Too often: wait a moment.
= Слишком часто: подождите немного.
home
  health Health
= Состояние
  noPanels No panel is configured.
= Панели не настроены.
  bus Bus
= Шина
  cloud Cloud
= Облако
  alone Not configured: the gateway runs alone.
= Не настроено: шлюз работает сам.
  connected Connected
= На связи
  away Not connected
= Нет связи
  waiting Events waiting: {n}
= Ждут отправки: {n}
  clock Clock
= Часы
  synchronized Synchronised
= Синхронизированы
  unsynchronized Not synchronised
= Не синхронизированы
  off {n} s off this device’s clock
= Расходятся с этим устройством на {n} с
  revision revision {n}
= версия {n}
  refused The last ones were refused.
= Последние отклонены.
panel
  intercom Intercom {n}
= Домофон {n}
  swipe Last swipe
= Последний ключ
  noSwipe none among the last {n} events
= среди последних событий ({n}) нет
  roundTrip Round trip
= Время ответа
  errors Errors
= Ошибки
  most Errors of the last minutes, at most {n} %
= Ошибки за последние минуты, не более {n} %
  door Door
= Дверь
  case Case
= Крышка
  power Power
= Питание
  open open
= открыта
  closed closed
= закрыта
  held open for too long
= открыта слишком долго
  failed failed
= пропало
  ill {ill} of {n} faulty
= неисправны {ill} из {n}
  model model {model} version {version}
= модель {model}, версия {version}
  firmware firmware
= прошивка
  serial serial
= номер
openDoor
  button Open door
= Открыть дверь
  ask Open the door of {panel}?
= Открыть дверь {panel}?
  yes Open
= Открыть
  done {panel}: the door is released.
= {panel}: замок открыт.
identify
  button Identify
= Мигнуть
  done {panel} blinks and beeps for 10 s.
= {panel} мигает и пищит 10 с.
bus
  open Port open
= Порт открыт
  shut Port not open
= Порт не открыт
  baud baud
= бод
  exchanges Exchanges a minute
= Обменов в минуту
  errors Errors a minute
= Ошибок в минуту
  kinds {timeouts} unanswered, {broken} broken, {wrong} wrong
= без ответа {timeouts}, испорчено {broken}, неверных {wrong}
  noise Stray bytes
= Лишних байт
  busy Busy
= Занята
lines
  none No commutator is configured.
= Коммутаторы не настроены.
  good {good} of {n} on hook
= трубка лежит: {good} из {n}
  wiring a wire of the cabinet, not the flats
= провод в шкафу, а не квартиры
  noValue no value
= нет значения
  watch Watch
= Наблюдать
  stop Stop
= Прекратить
  watching Lift the handset, then hang it up.
= Снимите трубку и положите её.
  plot Value of flat {flat}, live
= Значение квартиры {flat}, вживую
  measure Measure
= Измерить
  thresholds Thresholds
= Пороги
  hysteresis Hysteresis
= Гистерезис
  register Register
= Регистр
  measured Measured
= Измерено
  place Line
= Линия
events
  panel Panel
= Панель
  kind Kind
= Вид
  decision Decision
= Решение
  all All
= Все
  pause Pause
= Пауза
  resume Resume
= Продолжить
  none There is no such event.
= Таких событий нет.
  gone Events {from} to {to} are missing.
= События с {from} по {to} утрачены.
  full the journal is full: max_events = {n}
= журнал полон: max_events = {n}
  older Older events
= Более ранние
  oldest Older events are no longer kept.
= Более ранние уже не хранятся.
  reversed Read backwards, this key is known. Set key_order of {panel} to "reversed", or back to "as-read".
= Прочитанный наоборот, этот ключ известен. Задайте key_order панели {panel}: "reversed" или обратно "as-read".
kinds
  keys Keys and codes
= Ключи и коды
  doors Doors
= Двери
  lines Lines
= Линии
  panels Panels
= Панели
  gateway Gateway
= Шлюз
decisions
  granted granted
= разрешено
  denied denied
= отказано
letters
  G
= Р
  D
= О
units
  V
= В
reasons
  key_known known key
= ключ известен
  key_unknown no flat has this key
= такого ключа нет ни у одной квартиры
  user_expired its user has expired
= срок пользователя истёк
  not_permitted its user may not open this door
= пользователю эта дверь не разрешена
  other_intercom it belongs to another entrance
= он от другого подъезда
  cache_empty no flats are known yet
= квартиры ещё не известны
  unreadable it could not be read
= его не удалось прочесть
  stale perhaps not read just now
= возможно, прочитан раньше
  code_known known code
= код известен
  code_unknown no flat has this code
= такого кода нет ни у одной квартиры
  code_expired the code has expired
= срок кода истёк
  blocked blocked after too many unknown codes
= блокировка после неизвестных кодов
  clock the code expires, and the time is not known
= у кода есть срок, а время не известно
by
  key by a key
= ключом
  code by a code
= кодом
  command by the cloud
= облаком
  token by token {id}
= токеном {id}
  exit by the exit button
= кнопкой выхода
suspects
  wrong_mac something answers without the key
= отвечает что-то без ключа
  plaintext cards or inputs come without encryption
= карты или входы без шифрования
  sequence the secure channel ends again and again
= защищённый канал снова и снова обрывается
  serial the serial number changes again and again
= серийный номер снова и снова меняется
  flood more cards or entries than people make
= карт или вводов больше, чем бывает от людей
  codes one unknown code after another
= один неизвестный код за другим
inputs
  inactive inactive
= выключен
  active active
= включён
  short short
= замкнут
  open cut
= оборван
  fault faulty
= неисправен
  unknown not known
= не известен
happened
  key_swiped Key {decision}
= Ключ: {decision}
  code_entered Code {decision}
= Код: {decision}
  keypad_entered Digits entered {digits}
= Набраны цифры {digits}
  door_unlocked Door released {by}
= Замок открыт {by}
  door_unlock_failed Door not released {by}
= Не удалось открыть замок {by}
  door_opened Door opened {by}
= Дверь открыта {by}
  door_closed Door closed
= Дверь закрыта
  door_forced Door forced open
= Дверь взломана
  door_held Door held open
= Дверь не закрывают
  line_changed Flat {flat}: {to}
= Квартира {flat}: {to}
  line_wiring Wiring of {n} lines: {state}
= Сразу на {n} линиях: {state}
  line_wiring_over Wiring of {n} lines: well again
= Снова исправных линий: {n}
  input_changed Input {input}: {to}
= Вход {input}: {to}
  panel_online Panel online
= Панель на связи
  panel_offline Panel offline
= Панель пропала
  panel_tamper Case opened
= Крышка открыта
  panel_tamper_over Case closed
= Крышка закрыта
  panel_power Power failed
= Пропало питание
  panel_power_over Power is back
= Питание вернулось
  panel_secured Secure channel set up
= Защищённый канал установлен
  panel_replaced Another device: serial {serial}
= Другое устройство: номер {serial}
  panel_suspect Suspicious: {cause}
= Подозрительно: {cause}
  started Gateway started, version {version}
= Шлюз запущен, версия {version}
  stopping Gateway stopping
= Шлюз останавливается
  clock_stepped Clock set by {seconds} s
= Часы переведены на {seconds} с
  sync_applied Flats in force: revision {revision}
= Действуют квартиры версии {revision}
  sync_rejected Flats refused
= Квартиры отклонены
  committed_ignored Claim about the journal ignored
= Заявление о журнале не принято
  journal_pruned Events lost
= События утрачены
flats
  flat Flat {flat}
= Квартира {flat}
  search Number, key, name or login
= Номер, ключ, имя или логин
  button Search
= Найти
  found
    one {n} flat
= {n} квартира
    few
= {n} квартиры
    many
= {n} квартир
    other {n} flats
  more More
= Ещё
  counts keys {keys}, users {users}
= ключей {keys}, пользователей {users}
  id Record {id}
= Запись {id}
  on handset line in service
= линия трубки включена
  off handset line out of service
= линия трубки отключена
  own thresholds of its own
= свои пороги
  keys Keys
= Ключи
  users Users
= Пользователи
  nobody belongs to nobody, opens all the same
= ничей, но открывает
  until until
= до
  document As the endpoint serves it
= Как отдаёт API
work
  intro Items tick themselves. What only a person can see is confirmed here.
= Пункты отмечаются сами. Что видит только человек, подтверждается здесь.
  progress {done} of {all} done
= Сделано {done} из {all}
  complete Complete: all is done.
= Готово: сделано всё.
  onlyOpen Only what is open
= Только несделанное
  done done
= сделано
  open open
= не сделано
  event event
= событие
  byHand by hand,
= вручную,
  confirm Confirm
= Подтвердить
  handover Handover record
= Акт приёмки
  date Date
= Дата
  still Still open
= Осталось
  save Save as JSON
= Сохранить JSON
  print Print
= Печать
  groups
    panel Panels
= Панели
    lock Locks
= Замки
    door Door contacts
= Датчики дверей
    button Exit buttons
= Кнопки выхода
    key Wrong key
= Чужой ключ
    line Lines
= Линии
    cloud Cloud
= Облако
  kinds
    answered has answered
= ответила
    secured secure channel is up
= защищённый канал установлен
    identified blinked and beeped where it should
= мигала и пищала где надо
    opened lock has opened
= замок открывался
    contact door seen open and closed
= дверь видели открытой и закрытой
    exit exit button pressed
= кнопку выхода нажимали
    refused a wrong key was refused
= чужому ключу отказано
    on_hook on hook
= трубка лежит
    off_hook lifted
= трубка снята
    number flat number is right
= номер квартиры верный
    back away and back, with nothing waiting|Pull the network cable, present a key, plug it in, present the key again.
= пропадало и вернулось, ничего не ждёт|Выньте сетевой кабель, приложите ключ, вставьте кабель, приложите ключ.
say
  gone The connection is lost.
= Связь потеряна.
  back Connected again.
= Связь восстановлена.
  events New events: {n}. The newest: {newest}
= Новых событий: {n}. Последнее: {newest}
  ill Things wrong: {n}.
= Неисправностей: {n}.
`;
