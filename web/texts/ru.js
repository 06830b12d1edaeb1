// По-русски: те же имена, что и в en.js.
export default `
title Шлюз домофонии
form
  token Токен
  button Войти
  help Создаётся на шлюзе: intercom-gateway token add NAME. Хранится только в этой вкладке, пока она открыта.
signIn
  empty Введите токен.
  malformed В токене только латинские буквы, цифры, - и _, без пробелов.
  wrong Шлюз не знает такого токена. Он введён целиком?
  slowed Слишком много неверных токенов с этого адреса. Повторите через {seconds} с.
  unreachable Шлюз недоступен. Это устройство в его сети?
  revoked Токен отозван. Войдите с другим.
  out Вы вышли.
  certificate Отпечаток SHA-256 сертификата шлюза. Сравните его с тем, что показывает браузер: {print}
nav
  home Главная
  lines Линии
  events События
  flats Квартиры
  commissioning Приёмка
phases
  connecting Соединение
  live На связи
  lost Нет связи.
  stopping Шлюз перезапускается.
  full Уже открыто 16 страниц: закройте одну.
  grey Серое — на {time}.
views Разделы
newest Последнее событие
nothingYet Пока ничего не произошло.
wait Минуту …
since с {time}
asOf на {time}
showUtc Показывать время в UTC
inItsWords Словами шлюза
token Токен {token}
readOnly только чтение
readOnlyReason Этот токен только для чтения: можно смотреть и измерять.
version версия {version}
signOut Выйти
copy Копировать
copied Скопировано
copyFailed Скопируйте вручную
close Закрыть
cancel Отмена
ms мс
panelStates
  online С|На связи
  offline Н|Нет связи
  insecure П|Не защищена
  unconfigured ?|Не настроена
lineStates
  on_hook Л|Трубка лежит
  off_hook С|Трубка снята
  door_button К|Кнопка двери
  short З|Замыкание
  break О|Обрыв
  disabled –|Отключена
  unsupported Н|Не измеряется
  busy Р|Разговор
  unknown ?|Ещё не известно
health
  ok Всё в порядке.
  no_bus Шины не настроены, двери не открываются.|Добавьте шины и панели, затем reload.
  bus Шина не работает.|Подключите адаптер, исправьте «port» или остановите то, что занимает порт.
  panel_offline Не отвечает, или чего-то не хватает.|Что делать — в карточке панели.
  panel_insecure Защищённый канал не устанавливается.|Что делать — в карточке панели.
  panel_key Нет пригодного ключа.|Исправьте «secure_key_file» или: panel pair NAME.
  line_errors Ответы теряются на линии.|Проверьте питание и проводку, согласование.
  broker События не доходят до облака и хранятся здесь.|Двери работают. Проверьте сеть и брокер.
  sync Квартиры из облака отклонены, или их никто не присылает.|Действуют последние верные. Проверьте облако.
  committed Кто-то заявляет о событиях, которых нет.|Проверьте, кто на брокере пишет в «events/committed» и «status».
  clock Часы не синхронизированы.|Пропустите NTP. Сроки считаются по последнему известному времени.
  timezone Часовой пояс не известен.|Исправьте «timezone».
  storage Диск работает не так, как должен.|Двери работают. Освободите место, проверьте диск.
  journal_opening Журнал открывается.|Подождите: события пока сохраняются.
  journal_new Начат новый журнал.|Старый сохранён. Перезапуск уберёт это сообщение.
  events_lost События утрачены.|Посмотрите в «Событиях», чего слишком много.
  certificate Сертификат непригоден или истекает.|Обновите его; самоподписанный обновляется сам.
  endpoint API работает не так, как должен.|Освободите порт, исправьте «listen» или tokens.json.
troubles
  never_heard Не слышно с самого запуска.|Проверьте питание и проводку, адрес, скорость и чётность.
  silent Перестала отвечать.|Проверьте питание и проводку.
  no_link Отвечает, но связь не устанавливается.|Поищите второе устройство с её адресом; перезапустите панель.
  needs_secure_channel Требует защищённого канала.|Задайте «secure_channel»: "required" или "install".
  no_key Для неё нет ключа.|Укажите его в «secure_key_file» или: panel pair NAME.
  wrong_key У неё другой ключ.|Исправьте «secure_key_file» или: panel pair NAME.
  key_unusable Её ключ непригоден.|Исправьте «secure_key_file»: 32 шестнадцатеричные цифры, свои.
  no_handshake Не успевает ответить на рукопожатие.|Проверьте питание и проводку; увеличьте «reply_timeout».
  no_secure_channel Отказывается от защищённого канала.|Включите его в панели или замените панель.
  no_default_key Не привязывается.|Сбросьте её к заводским настройкам или укажите её ключ в «secure_key_file».
  pairing Получает собственный ключ.|Подождите.
  key_not_stored Её новый ключ не записывается на диск.|Проверьте диск.
  pairing_failed Привязка не удалась десять раз.|Перезапустите панель, затем: panel pair NAME.
  no_randomness В системе нет случайных чисел.|Перезапустите шлюз.
  no_such_input У неё нет такого входа.|Исправьте «door»: входы считаются с 0.
  no_such_output У неё нет такого выхода.|Исправьте «lock»: выходы считаются с 0.
  reader_disconnected Считыватель не подключён.|Проверьте его кабель.
  other_model Это не та модель, для которой её профиль.|Проверьте адрес и профиль.
  no_such_registers У неё нет регистров её профиля.|Проверьте профиль.
refusals
  ambiguous_panel У домофона несколько замков.
  unknown_panel Такой панели нет, или у неё нет замка.
  unknown_flat Ни у одной панели нет линии этой квартиры.
  panel_offline Панель не отвечает.
  insecure Панель подключена без защиты.
  unconfirmed Панель не подтвердила: сделано ли, не известно.
  refused Панель этого не умеет.
  interrupted Шлюз останавливается: ничего не сделано.
  rate_limited Слишком часто: подождите немного.
home
  health Состояние
  noPanels Панели не настроены.
  bus Шина
  cloud Облако
  alone Не настроено: шлюз работает сам.
  connected На связи
  away Нет связи
  waiting Ждут отправки: {n}
  clock Часы
  synchronized Синхронизированы
  unsynchronized Не синхронизированы
  off Расходятся с этим устройством на {n} с
  revision версия {n}
  refused Последние отклонены.
panel
  intercom Домофон {n}
  swipe Последний ключ
  noSwipe в последнее время нет
  roundTrip Время ответа
  errors Ошибки
  most Ошибки за последние минуты, не более {n} %
  door Дверь
  case Крышка
  power Питание
  open открыта
  closed закрыта
  held открыта слишком долго
  failed пропало
  ill неисправны {ill} из {n}
  firmware прошивка
  serial номер
openDoor
  button Открыть дверь
  ask Открыть дверь {panel}?
  yes Открыть
  done {panel}: замок открыт.
identify
  button Мигнуть
  done {panel} мигает и пищит 10 с.
bus
  open Порт открыт
  shut Порт не открыт
  baud бод
  exchanges Обменов в минуту
  errors Ошибок в минуту
  kinds без ответа {timeouts}, испорчено {broken}, неверных {wrong}
  noise Лишних байт
  busy Занята
lines
  none Коммутаторы не настроены.
  good трубка лежит: {good} из {n}
  wiring провод в шкафу, а не квартиры
  noValue нет значения
  watch Наблюдать
  stop Прекратить
  watching Снимите трубку и положите её.
  plot Значение квартиры {flat}, вживую
  noPlot Кривую показать нельзя.
  measure Измерить
  thresholds Пороги
  hysteresis Гистерезис
  register Регистр
  measured Измерено
  place Линия
events
  panel Панель
  kind Вид
  decision Решение
  all Все
  pause Пауза
  resume Продолжить
  none Таких событий нет.
  gone События с {from} по {to} утрачены.
  older Более ранние
  oldest Более ранние уже не хранятся.
  reversed Прочитанный наоборот, этот ключ известен. Задайте key_order панели {panel}: "reversed" или обратно "as-read".
kinds
  keys Ключи и коды
  doors Двери
  lines Линии
  panels Панели
  gateway Шлюз
decisions
  granted разрешено
  denied отказано
letters
  G Р
  D О
reasons
  key_known ключ известен
  key_unknown такого ключа нет ни у одной квартиры
  user_expired срок пользователя истёк
  not_permitted пользователю эта дверь не разрешена
  other_intercom он от другого подъезда
  cache_empty квартиры ещё не известны
  unreadable его не удалось прочесть
  stale возможно, прочитан раньше
  code_known код известен
  code_unknown такого кода нет ни у одной квартиры
  code_expired срок кода истёк
  blocked блокировка после неизвестных кодов
  clock у кода есть срок, а время не известно
by
  key ключом
  code кодом
  command облаком
  token токеном {id}
  exit кнопкой выхода
suspects
  wrong_mac отвечает что-то без ключа
  plaintext карты или входы без шифрования
  sequence защищённый канал снова и снова обрывается
  serial серийный номер снова и снова меняется
  flood карт или вводов больше, чем бывает от людей
  codes один неизвестный код за другим
inputs
  inactive выключен
  active включён
  short замкнут
  open оборван
  fault неисправен
  unknown не известен
happened
  key_swiped Ключ: {decision}
  code_entered Код: {decision}
  keypad_entered Набраны цифры {digits}
  door_unlocked Замок открыт {by}
  door_unlock_failed Замок не открылся {by}
  door_opened Дверь открыта {by}
  door_closed Дверь закрыта
  door_forced Дверь взломана
  door_held Дверь не закрывают
  line_changed Квартира {flat}: {to}
  line_wiring Проводка, линий {n}: {state}
  line_wiring_over Проводка, линий {n}: снова исправна
  input_changed Вход {input}: {to}
  panel_online Панель на связи
  panel_offline Панель пропала
  panel_tamper Крышка открыта
  panel_tamper_over Крышка закрыта
  panel_power Пропало питание
  panel_power_over Питание вернулось
  panel_secured Защищённый канал установлен
  panel_replaced Другое устройство: номер {serial}
  panel_suspect Подозрительно: {cause}
  started Шлюз запущен, версия {version}
  stopping Шлюз останавливается
  clock_stepped Часы переведены на {seconds} с
  sync_applied Действуют квартиры версии {revision}
  sync_rejected Квартиры отклонены
  committed_ignored Заявление о журнале не принято
  journal_pruned События утрачены
flats
  flat Квартира {flat}
  search Номер, ключ, имя или логин
  button Найти
  found
    one {n} квартира
    few {n} квартиры
    many {n} квартир
  more Ещё
  counts ключей {keys}, пользователей {users}
  id Запись {id}
  on линия трубки включена
  off линия трубки отключена
  own свои пороги
  keys Ключи
  users Пользователи
  nobody ничей: открывает
  until до
  document Как отдаёт API
work
  intro Пункты отмечаются сами по мере событий. Что видит только человек, подтверждается здесь.
  progress Сделано {done} из {all}
  complete Готово: сделано всё.
  onlyOpen Только несделанное
  done сделано
  open не сделано
  event событие
  byHand вручную,
  confirm Подтвердить
  handover Акт приёмки
  date Дата
  still Осталось
  save Сохранить JSON
  print Печать
  groups
    panel Панели
    lock Замки
    door Датчики дверей
    button Кнопки выхода
    key Чужой ключ
    line Линии
    cloud Облако
  kinds
    answered ответила
    secured защищённый канал установлен
    identified мигала и пищала где надо
    opened замок открывался
    contact дверь видели открытой и закрытой
    exit кнопку выхода нажимали
    refused чужому ключу отказано
    on_hook трубка лежит
    off_hook трубка снята
    number номер квартиры верный
    back пропадало и вернулось, ничего не ждёт
say
  gone Связь потеряна.
  back Связь восстановлена.
  events Новых событий: {n}. Последнее: {newest}
  ill Неисправностей: {n}.
`;
